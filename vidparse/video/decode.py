"""From packets to pictures: decoding, the time and number of each picture, and damage on the way.

Decoders fill damaged pictures in, or leave them out without a word; what gives that away is noted.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import av

from vidparse.errors import InputError
from vidparse.limits import check_size, decoder_limit, decoder_threads

log = logging.getLogger(__name__)

_SILENT: Final = ("hevc",)  # decoders that leave out a picture without a report
_REORDERED: Final = 4  # pictures that a decoder holds back at most, in practice
_PROBED: Final = 100  # packets that show if frames come evenly

# RFC 9043, 4.8 and 4.9: an FFV1 frame is a row of slices, each followed by its size (3 bytes), a
# status byte and a CRC that makes the remainder over slice and footer zero.
_FOOTER_BYTES: Final = 8
_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_REGISTER_AT_ZERO: Final = 0xFFFFFFFF  # zlib inverts the register on the way in and on the way out


class Decoder:
    """Pictures of one video stream, in the order in which they are shown.

    Attributes:
        codec: FFmpeg's name.
        damage: the faults found so far.
    """

    def __init__(self, stream: av.VideoStream, name: str, *, at_once: bool = False) -> None:
        """Get ready to decode.

        Args:
            stream: of a PyAV container.
            name: of the video, for messages.
            at_once: give each picture as soon as its packet is there; threads that decode whole
                pictures side by side would each keep one back.

        Raises:
            InputError: there is no decoder for it, or its pictures are larger than the limits.
        """
        context = stream.codec_context
        if context is None:
            raise InputError(f"{name}: no decoder for its video; convert it to H.264 first")
        if context.width and context.height:  # before FFmpeg allocates any picture
            check_size(name, (context.height, context.width))
        # FFmpeg's threads wait for each other without end behind a damaged picture of APNG.
        is_alone = at_once or context.codec.canonical_name == "apng"
        context.thread_type = "SLICE" if is_alone else "AUTO"
        # Let one thread feed a decoder of a device: more would only hold more pictures there.
        context.thread_count = 1 if context.is_hwaccel else decoder_threads()
        context.options = decoder_options(context)
        self._context, self._name = context, name
        self.codec: str = context.codec.canonical_name
        self.damage = DecodeLog(self.codec, prompt=context.thread_count == 1)

    def pictures(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Those that a packet completes, none of a damaged one; at the end, for None, the rest."""
        if packet is not None:
            self.damage.packet(packet)
        try:
            # Let missing memory through: PyAV has it as an FFmpegError, too, and it is no damage.
            frames = self._context.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError as error:
            log.debug("%s: damaged packet at %s: %s", self._name, packet and packet.pos, error)
            self.damage.failed(packet)
            return []

        for frame in frames:
            self.damage.decoded(frame)
        return frames

    def ends_badly(self) -> bool:
        """True if the last packet was damaged; call after the end."""
        return self.damage.ends_badly(self._context.has_b_frames)


def decoder_options(decoder: av.VideoCodecContext) -> dict[str, str]:
    """No picture above the limit; of MJPEG no half picture, which it would hand out as whole."""
    strict = {"err_detect": "explode"} if decoder.codec.canonical_name == "mjpeg" else {}
    return {"max_pixels": decoder_limit(), **strict}


class DecodeLog:
    """Faults in decoding one stream: packets without a picture, pictures filled in.

    Args:
        codec: FFmpeg's name.
        prompt: errors come with their own packet, and not some packets later, as from threads.
    """

    def __init__(self, codec: str, *, prompt: bool) -> None:
        self.skipped = 0  # packets that gave an error
        self.filled = 0  # pictures that were delivered although a part of them is made up
        self.first_filled: int | None = None  # pts
        self._good_in_a_row: int | None = None  # since the last fault
        self._slices = SliceCheck() if codec == "ffv1" else None
        self._broken: set[int | None] = set()  # stamps of packets that failed this check
        self._silent, self._prompt = codec in _SILENT, prompt
        self._owed: list[int | None] = []  # pts of packets without a picture so far
        self._first: int | None = None  # pts of the first picture
        self._last: int | None = None  # pts of the last packet
        self._start: int | None = None  # of the range, in pts
        self._until: int | None = None

    def begin(self, start: int | None, until: int | None) -> None:
        """Count packets from pts `start` on and before `until` from now on; None: no bound.

        What lies outside is no loss, and may be read several times on the way to a place.
        """
        self._start, self._until = start, until

    def moved(self) -> None:
        """Call after a seek: packets that were read before give no picture any more."""
        self._owed.clear()
        self._broken.clear()
        self._first = None

    def packet(self, packet: av.Packet) -> None:
        """Call for every packet before it is decoded."""
        if self._silent:
            self._owed.append(packet.pts)
            self._last = packet.pts
        if self._slices is not None and not self._slices(bytes(packet)):
            self._broken.add(stamp_of(packet))

    def failed(self, packet: av.Packet | None) -> None:
        """Call for a packet that the decoder refused, None for what it kept to the end."""
        if packet is None or self._is_wanted(packet.pts, behind=not self._prompt):
            self.skipped += 1
        self._good_in_a_row = 0

        # Forget the debt, or the same picture would be counted again at the end.
        if self._owed:
            self._owed.pop()
        if packet is not None:
            self._broken.discard(stamp_of(packet))

    def decoded(self, frame: av.VideoFrame) -> None:
        """Call for every picture that comes out of the decoder."""
        if frame.pts in self._owed:
            self._owed.remove(frame.pts)
        if self._first is None:
            self._first = frame.pts
        if frame.is_corrupt:
            self._good_in_a_row = 0
        elif self._good_in_a_row is not None:
            self._good_in_a_row += 1

    def delivered(self, frame: av.VideoFrame, pts: int) -> None:
        """Call for every picture of the range that is wanted."""
        if not frame.is_corrupt and stamp_of(frame) not in self._broken:
            return
        self._broken.discard(stamp_of(frame))
        self.filled += 1
        if self.first_filled is None:
            self.first_filled = pts

    def _is_wanted(self, pts: int | None, *, behind: bool = False) -> bool:
        """A packet is in the range, or `behind` it; one without a time is."""
        if pts is None:
            return True
        begun = self._start is None or pts >= self._start
        return begun and (behind or self._until is None or pts < self._until)

    def end(self) -> None:
        """Call behind a range: packets of it that gave no picture, nor an error, are counted."""
        first, owed, self._owed = self._first, self._owed, []

        # Leave out what comes before the first picture: it needs older ones that are not here.
        here = [pts for pts in owed if self._is_wanted(pts)]
        lost = [pts for pts in here if pts is None or first is None or pts > first]
        self.skipped += len(lost)
        if lost and lost[-1] == self._last:
            self._good_in_a_row = 0

    def ends_badly(self, reordered: bool) -> bool:
        """The last packet was damaged; with reordered pictures, a few older ones come after it."""
        return self._good_in_a_row is not None and self._good_in_a_row <= _REORDERED * reordered


def stamp_of(one: av.Packet | av.VideoFrame) -> int | None:
    """Its time of showing or, where it has none, of decoding: a packet and its picture share it."""
    return one.dts if one.pts is None else one.pts


class SliceCheck:
    """Packets of one FFV1 stream: are their slices whole? FFmpeg fills damaged ones in.

    A stream written without checksums passes unchecked.
    """

    def __init__(self) -> None:
        self._protected = False
        self._unreadable = False

    def __call__(self, packet: bytes) -> bool:
        """The next packet is good, as far as its checksums show.

        A first packet whose footers make no sense may be damaged or from a stream without
        checksums; it counts against the first later packet that has them.
        """
        slices = _slices(packet)
        if slices is None:
            self._unreadable = True
            return not self._protected
        self._protected = True
        return not self._unreadable and all(_remainder_is_zero(part) for part in slices)


def _slices(packet: bytes) -> list[bytes] | None:
    """The slices with their footers, last one first; None when sizes do not add up."""
    slices = []
    end = len(packet)
    while end > 0:
        footer = end - _FOOTER_BYTES
        start = footer - int.from_bytes(packet[max(footer, 0) : footer + 3], "big")
        if footer < 0 or start < 0 or start == footer:
            return None
        slices.append(packet[start:end])
        end = start
    return slices


def _remainder_is_zero(data: bytes) -> bool:
    """CRC-32 with the bits in sending order and a register that begins at 0 (RFC 9043, 4.9.3)."""
    return zlib.crc32(data.translate(_MIRRORED), _REGISTER_AT_ZERO) == _REGISTER_AT_ZERO


class Clock:
    """Gives each decoded frame its pts: the file's own unless it is missing or runs backwards.

    Old formats (AVI) store no presentation times; with reordered frames the guesses made for them
    run backwards while the decoding times of the frames, as they come out, do not. So whichever of
    the two has run backwards less often is believed.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self._step = max(1, round(1 / (rate * time_base))) if rate else 1
        self._a_second = max(1, round(1 / time_base))
        self.repaired = 0
        self.restart()

    def restart(self) -> None:
        """After a seek the next frame may be earlier than the last one."""
        self._last: int | None = None
        self._shift = 0  # added after the file's clock was set back
        # By kind of stamp: the last value, and how often it ran backwards.
        self._seen: dict[str, tuple[int | None, int]] = {"pts": (None, 0), "dts": (None, 0)}

    def pts(self, frame: av.VideoFrame) -> int:
        """Strictly increasing, in time base units; call once a frame, in presentation order."""
        last = self._last
        step = frame.duration or self._step
        stamp = self._believed(frame)
        pts = stamp + self._shift if stamp is not None else 0 if last is None else last + step

        # Never stand still: muxers refuse a time that does not rise, and drop its frame.
        if last is not None and pts <= last:
            self.repaired += 1
            if last - pts > self._a_second:  # glued recordings: go on where the first one ended
                self._shift += last + step - pts
                pts = last + step
            else:
                pts = last + 1
        self._last = pts
        return pts

    def _believed(self, frame: av.VideoFrame) -> int | None:
        for kind, stamp in (("pts", frame.pts), ("dts", frame.dts)):
            before, faults = self._seen[kind]
            if stamp is not None:
                fault = before is not None and stamp <= before
                self._seen[kind] = stamp, faults + fault

        # Change to decoding times only once they are the better ones: most files need not.
        if frame.dts is not None and self._seen["pts"][1] > self._seen["dts"][1]:
            return frame.dts
        return stamp_of(frame)


def frames_between(
    packets: Iterable[av.Packet], first: int, pts: int, step: Fraction | None
) -> int:
    """Frames shown from `first` on and before `pts`; nothing is decoded.

    Args:
        packets: of the video stream, from its beginning.
        first, pts: in units of the stream's time base.
        step: between two frames, by the rate that the file claims; None without one. Where the
            first packets keep to it, the others are believed to, and are not read.
    """
    stamps: list[int] = []
    for packet in packets:
        if packet.dts is not None and packet.dts >= pts:  # no later one is shown earlier
            break
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            stamps.append(stamp)

        # Stop reading where the rate holds: counting reads all of a long film from the disk.
        if step is not None and len(stamps) == _PROBED and _are_even(stamps, step):
            return round((pts - first) / step)
    return sum(first <= stamp < pts for stamp in stamps)


def _are_even(stamps: list[int], step: Fraction) -> bool:
    """Packets follow each other in even steps, up to rounding of their times."""
    # The last ones may wait for others that are shown before them.
    shown = sorted(stamps)[: -_PROBED // 4]
    return all(abs(stamp - shown[0] - i * step) <= 1 + step / 10 for i, stamp in enumerate(shown))
