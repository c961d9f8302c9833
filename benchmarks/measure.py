"""What all benchmarks measure with: exclusive phases, peak memory, the machine's matrix rate, small statistics."""

from __future__ import annotations

import datetime
import math
import os
import platform
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch
from scipy import stats
from torch import Tensor

# square products tried for the matrix rate; the best one counts, since it stands for a limit
_SIZES = (1024, 2048, 3072)
_MIB = 2**20
Result = TypeVar("Result")


class Stopwatch:
    """Seconds and calls by phase. A phase inside another stops the outer one's clock: no second is counted twice."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time what happens inside as `phase`."""
        self._turn()
        self._stack.append(phase)
        self.calls[phase] += 1
        try:
            yield
        finally:
            self._turn()
            self._stack.pop()

    def wrap(self, phase: str, function: Callable[..., Result]) -> Callable[..., Result]:
        """The same function, its calls timed as `phase`."""

        def timed(*args: object, **options: object) -> Result:
            with self(phase):
                return function(*args, **options)

        return timed

    def reset(self) -> None:
        """Forget everything so far; not inside a phase."""
        self.seconds.clear()
        self.calls.clear()

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())

    def _turn(self) -> None:
        """Book the time since the last turn on the phase that ran."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now


def reset_peak(device: str = "cpu") -> float:
    """Forget the highest memory so far; returns what is held now, in MiB."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated() / _MIB)
    with suppress(OSError):  # Linux only; elsewhere the peak is the process's own
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak(device: str = "cpu") -> float:
    """The most memory held since the last reset, in MiB: resident memory of this process, or the device's."""
    if device != "cpu":
        return float(torch.cuda.max_memory_allocated() / _MIB)
    return _status("VmHWM")


def matrix_rate(dtype: torch.dtype, device: str = "cpu", seconds: float = 0.5) -> float:
    """FLOP/s of a large matrix product: the best of a few sizes and libraries, each repeated for `seconds`.

    On a CPU oneDNN is asked too: torch sends float32 to MKL, which is a third as fast on some processors.
    """
    products: list[Callable[[Tensor, Tensor], Tensor]] = [torch.mm]
    if device == "cpu" and torch.backends.mkldnn.is_available():
        products.append(_onednn)
    return max(_rate(product, size, dtype, device, seconds) for product in products for size in _SIZES)


def _onednn(left: Tensor, right: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return product


def _rate(
    product: Callable[[Tensor, Tensor], Tensor], size: int, dtype: torch.dtype, device: str, seconds: float
) -> float:
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    stopwatch, turns = Stopwatch(device), 0
    product(left, right)  # warm-up
    while stopwatch.total < seconds:
        with stopwatch("product"):
            product(left, right)
        turns += 1
    return 2.0 * size**3 * turns / stopwatch.total


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the range they lie in."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one number."""
        return cls(statistics.median(values), min(values), max(values))


def wilson(correct: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion: `correct` (may be a mean, so not whole) of `count`."""
    z = float(stats.norm.ppf(0.5 + level / 2))
    share = correct / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return centre - half, centre + half


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval; the interval is infinite for a single value, which shows nothing."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, -math.inf, math.inf
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1)) * error
    return mean, mean - half, mean + half


@dataclass(frozen=True)
class Fit:
    """cost ~ size ** exponent, with a 95 % interval of the exponent."""

    exponent: float
    low: float
    high: float


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> Fit:
    """Least squares on a log-log scale; Student's t interval with n - 2 degrees of freedom."""
    line = stats.linregress([math.log(size) for size in sizes], [math.log(cost) for cost in costs])
    half = float(stats.t.ppf(0.975, len(sizes) - 2)) * float(line.stderr) if len(sizes) > 2 else math.inf
    return Fit(float(line.slope), float(line.slope) - half, float(line.slope) + half)


def interleaved(points: Sequence[str], measure: Callable[[str], float], repeats: int) -> dict[str, list[float]]:
    """Measure every point once, then all again: what drifts in the machine falls on all of them alike.

    A first round is thrown away: libraries set up each new shape when they first meet it.
    """
    rounds = [{point: measure(point) for point in points} for _ in range(repeats + 1)]
    return {point: [measured[point] for measured in rounds[1:]] for point in points}


def machine(threads: int, device: str) -> dict[str, str]:
    """When and on what the numbers were made, for the page."""
    facts = {"date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")}
    facts["processor"] = f"{_processor()}, {os.cpu_count()} cores, {threads} threads used"
    if device != "cpu":
        facts["device"] = torch.cuda.get_device_name()
    packages = ("torch", "transformers", "peft", "accelerate")
    facts["versions"] = ", ".join(["python " + platform.python_version(), *map(_version, packages)])
    return facts


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except ModuleNotFoundError:
        return f"{package} dropped_as"


def _processor() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _status(field: str) -> float:
    """A field of /proc/self/status, in MiB; the process's highest resident memory where there is no such file."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
