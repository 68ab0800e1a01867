"""Sources of weights: a known name, a path, or a repository of the Hugging Face hub.

A name or address goes in, files on this machine come out; nothing is loaded here.
"""

from vidparse import DEFAULT_MODEL
from vidparse.hub.address import parse_address
from vidparse.hub.cached import cached_models
from vidparse.hub.files import ModelFiles
from vidparse.hub.known import catalogue, published_models, weights_folder
from vidparse.hub.lookup import found_here, locate, resolve


def model_names() -> list[str]:
    """The models that are bundled, cached or known, as `-m` takes them."""
    cached = (str(model.address) for model in cached_models())
    return list(dict.fromkeys([*catalogue(), *cached, *published_models()]))


__all__ = [
    "DEFAULT_MODEL",
    "ModelFiles",
    "cached_models",
    "catalogue",
    "found_here",
    "locate",
    "model_names",
    "parse_address",
    "published_models",
    "resolve",
    "weights_folder",
]
