"""Sources of weights: a known name, a path, or a repository of the Hugging Face hub.

A name or address goes in, files on this machine come out; nothing is loaded here.
"""

from vidparse import DEFAULT_MODEL
from vidparse.hub.address import HubAddress, parse_address
from vidparse.hub.bundled import CatalogueEntry, catalogue, weights_folder
from vidparse.hub.cached import CachedModel, cached_models
from vidparse.hub.files import ModelFiles
from vidparse.hub.lookup import locate, resolve

__all__ = [
    "DEFAULT_MODEL",
    "CachedModel",
    "CatalogueEntry",
    "HubAddress",
    "ModelFiles",
    "cached_models",
    "catalogue",
    "locate",
    "parse_address",
    "resolve",
    "weights_folder",
]
