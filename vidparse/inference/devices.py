"""The device to run on, found without importing a framework."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from vidparse.errors import DeviceError, UsageError, counted

CPU_FACTS = Path("/proc/cpuinfo")  # of Linux
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})  # flags of CPUs that multiply int8 quickly


@dataclass(frozen=True, slots=True)
class Device:
    """A place to run a network: the CPU, or one CUDA device."""

    kind: str  # "cpu" or "cuda"
    index: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"


def cuda_device_count() -> int:
    """CUDA devices that the driver reports; 0 without a driver. Costs about a millisecond."""
    # Load the driver itself: a framework would be imported for one number.
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def choose_device(wanted: str) -> Device:
    """`auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: not one of these. DeviceError: a CUDA device that is not there.
    """
    if wanted == "auto":
        return Device("cuda") if cuda_device_count() else Device("cpu")
    if wanted == "cpu":
        return Device("cpu")
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()) or wanted.endswith(":"):
        raise UsageError(f"device '{wanted}': unknown; use auto, cpu, cuda or cuda:N")
    device = Device("cuda", int(number or 0))
    count = cuda_device_count()
    if device.index >= count:
        have = counted(count, "CUDA device") if count else "no CUDA device"
        raise DeviceError(f"device {wanted}: this machine has {have}; use --device cpu or auto")
    return device


def cpu_count() -> int:
    """CPUs this process may use (affinity and container limits respected where known)."""
    # Prefer the affinity mask: `os.cpu_count` counts CPUs that are not this process's.
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def has_vnni() -> bool:
    """True if this CPU reports VNNI or AVX-VNNI; False where the system has no such report."""
    try:
        with CPU_FACTS.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, _, words = line.partition(":")
                if key.strip() == "flags":
                    return not _VNNI.isdisjoint(words.split())
    except OSError:
        pass
    return False


def check_threads(threads: int) -> None:
    """Refuse a number of threads that would only take memory.

    Raises:
        UsageError: below 0, or far above the CPUs that there are.
    """
    most = max(64, 4 * cpu_count())
    if not 0 <= threads <= most:
        raise UsageError(
            f"threads {threads}: this process may use {cpu_count()} CPUs; give 1 to {most}, or 0 "
            "for one thread a CPU"
        )
