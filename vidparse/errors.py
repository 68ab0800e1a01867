"""Errors a user can act on: one line "what: why; what to do next", and an exit code each."""

from __future__ import annotations


class VidparseError(Exception):
    """Base of all expected failures. `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(VidparseError):
    """The request makes no sense as asked (unknown class, codec or option value)."""

    exit_code = 2


class InputError(VidparseError):
    """The input can not be read."""

    exit_code = 3


class TruncatedError(InputError):
    """The input ended early. Every frame before the damage was delivered, so outputs are kept."""


class ModelError(VidparseError):
    """A model or its weights are unknown, missing or damaged."""

    exit_code = 4


class DeviceError(VidparseError):
    """The device, precision or memory asked for is not there."""

    exit_code = 5


class OutputError(VidparseError):
    """An output can not be written."""

    exit_code = 6


class ClosedPipe(OutputError):
    """The program that read our output has gone. Often wanted: `... | head`."""


class Interrupted(VidparseError):
    """Ctrl-C or SIGTERM. Outputs were finalised with the frames done so far."""

    exit_code = 130
