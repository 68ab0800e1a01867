// Segments raw RGB frames with an ONNX file of vidparse, also of a network that remembers.
//
//     segment MODEL.onnx WIDTHxHEIGHT < frames.rgb > classes.gray
//
// A network with a memory has more inputs than `clip`: its state. It is zero before the first frame
// of a video. The output `NAME_next` of each call is the input `NAME` of the next one.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

// Of RGB / 255; the description in the file (metadata key "vidparse") has them under "preprocess".
constexpr float kMean[3] = {0.485f, 0.456f, 0.406f};
constexpr float kDeviation[3] = {0.229f, 0.224f, 0.225f};

const Ort::MemoryInfo& cpu() {
  static const Ort::MemoryInfo info =
      Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  return info;
}

// One float tensor with its own memory.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> values;

  explicit Tensor(std::vector<int64_t> of) : shape(std::move(of)) {
    values.resize(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
  }

  Ort::Value view() {
    return Ort::Value::CreateTensor<float>(cpu(), values.data(), values.size(), shape.data(),
                                           shape.size());
  }
};

class Network {
 public:
  explicit Network(const std::string& path) : session_(environment_, path.c_str(), options()) {
    Ort::AllocatorWithDefaultOptions allocator;
    for (size_t i = 0; i < session_.GetInputCount(); ++i) {
      std::string name = session_.GetInputNameAllocated(i, allocator).get();
      if (name == "clip") continue;

      // A dimension of -1 depends on the size of the picture, which these networks do not need.
      auto shape = session_.GetInputTypeInfo(i).GetTensorTypeAndShapeInfo().GetShape();
      if (std::any_of(shape.begin(), shape.end(), [](int64_t side) { return side < 0; }))
        throw std::runtime_error(name + ": has no fixed shape; see the state in the description");
      names_.push_back(name);
      state_.emplace_back(shape);  // zeros: nothing has been seen
    }
  }

  // The class of every position, of one frame. clip: (1, 3, H, W).
  std::vector<uint8_t> answer(Tensor& clip) {
    std::vector<const char*> inputs{"clip"};
    std::vector<Ort::Value> values;
    values.push_back(clip.view());
    std::vector<std::string> next;
    for (size_t i = 0; i < names_.size(); ++i) {
      inputs.push_back(names_[i].c_str());
      values.push_back(state_[i].view());
      next.push_back(names_[i] + "_next");
    }
    std::vector<const char*> outputs{"logits"};
    for (const std::string& name : next) outputs.push_back(name.c_str());

    auto found = session_.Run(Ort::RunOptions{nullptr}, inputs.data(), values.data(), values.size(),
                              outputs.data(), outputs.size());

    // What comes out is what goes in with the next frame.
    for (size_t i = 0; i < state_.size(); ++i) {
      const float* from = found[i + 1].GetTensorData<float>();
      std::copy(from, from + state_[i].values.size(), state_[i].values.begin());
    }
    return best(found[0]);
  }

 private:
  static Ort::SessionOptions options() {
    Ort::SessionOptions options;
    options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    return options;
  }

  // The class with the highest score. logits: (1, K, h, w).
  static std::vector<uint8_t> best(const Ort::Value& logits) {
    auto shape = logits.GetTensorTypeAndShapeInfo().GetShape();
    const int64_t classes = shape[1], places = shape[2] * shape[3];
    const float* scores = logits.GetTensorData<float>();
    std::vector<uint8_t> ids(places, 0);
    for (int64_t place = 0; place < places; ++place)
      for (int64_t k = 1; k < classes; ++k)
        if (scores[k * places + place] > scores[ids[place] * places + place])
          ids[place] = static_cast<uint8_t>(k);
    return ids;
  }

  Ort::Env environment_{ORT_LOGGING_LEVEL_WARNING, "vidparse"};
  Ort::Session session_;
  std::vector<std::string> names_;  // of the state
  std::vector<Tensor> state_;
};

int segment(const std::string& path, int width, int height) {
  Network network(path);
  Tensor clip({1, 3, height, width});
  const size_t places = static_cast<size_t>(width) * height;
  std::vector<uint8_t> frame(places * 3);
  while (std::fread(frame.data(), 1, frame.size(), stdin) == frame.size()) {
    for (size_t place = 0; place < places; ++place)
      for (size_t c = 0; c < 3; ++c)
        clip.values[c * places + place] =
            (frame[place * 3 + c] / 255.0f - kMean[c]) / kDeviation[c];

    const auto ids = network.answer(clip);
    if (std::fwrite(ids.data(), 1, ids.size(), stdout) != ids.size())
      throw std::runtime_error("standard output: cannot be written");
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  int width = 0, height = 0;
  if (count != 3 || std::sscanf(words[2], "%dx%d", &width, &height) != 2 || width < 1 ||
      height < 1) {
    std::cerr << "usage: segment MODEL.onnx WIDTHxHEIGHT < frames.rgb > classes.gray\n";
    return 2;
  }
  try {
    return segment(words[1], width, height);
  } catch (const std::exception& error) {
    std::cerr << "segment: " << error.what() << "\n";
    return 1;
  }
}
