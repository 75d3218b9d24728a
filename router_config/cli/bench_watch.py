"""`bench --profile` and `bench --soak`: our proxy under load, looked into or watched for long."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from router_config.cli import bench_processes as processes
from router_config.cli import loadgen
from router_config.cli.bench_processes import Proxy
from router_config.cli.bench_rows import Subject, requests

__all__ = ["profile", "soak"]

_BASE64 = {"encoding_format": "base64"}
_MIX = (
    (Subject("new, n=1", "ours", "ours-base64"), 1),
    (Subject("new, n=32", "ours", "ours-float"), 32),
    (Subject("known, n=32", "ours", "ours-base64", known=True), 32),
    (Subject("new, n=256, base64", "ours", "ours-base64", _BASE64), 256),
    (Subject("new, n=32, 1024 numbers", "ours", "ours-base64", {"dimensions": 1024}), 32),
)
_TURN_S = 3.0
# Before that the cache fills, and pools, buffers and the allocator find their size.
_WARM_UP_SHARE = 0.25


def profile(
    folder: Path, base: str, base64: str, target: Path, n: int, connections: int, seconds: float
) -> int:
    """Profile our proxy into *target* under *n* new texts a request; 1 if it does not start."""
    spy = shutil.which("py-spy") or shutil.which(str(Path(sys.executable).with_name("py-spy")))
    subject = Subject("profiled", "ours", "ours-base64")
    counted = None if spy else target.absolute()
    with processes.ours(folder, base, base64, profile=counted) as proxy:
        if proxy is None:
            return 1
        _drive(proxy, subject, n, connections, 1.0)  # the first requests are none of the usual ones
        watching = None
        if spy is not None:
            command = [spy, "record", "--pid", str(proxy.pid), "--output", str(target)]
            command += ["--duration", str(max(1, round(seconds))), "--rate", "250"]
            watching = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        got = _drive(proxy, subject, n, connections, seconds + 1)
        if watching is not None and watching.wait(timeout=60) != 0:
            print("py-spy could not look into the process", file=sys.stderr)
            return 1
    kind = "flame graph" if spy else "cProfile numbers, for `python -m pstats`"
    print(f"{got.per_second:.1f} requests/s of n={n}; {kind} in {target}")
    return 0


def soak(proxy: Proxy, seconds: float, connections: int) -> int:
    """Load *proxy* with all kinds of requests, print its memory and how fast it grows."""
    begun = time.monotonic()
    points: list[tuple[float, float]] = []
    turn = failures = replies = 0
    while (passed := time.monotonic() - begun) < seconds:
        subject, n = _MIX[turn % len(_MIX)]
        got = _drive(proxy, subject, n, connections, min(_TURN_S, max(0.5, seconds - passed)))
        failures += got.failures
        replies += len(got.latencies_s)
        turn += 1
        if turn % len(_MIX) == 0 or time.monotonic() - begun >= seconds:
            points.append(((time.monotonic() - begun) / 60, proxy.rss_mb()))
            print(f"{points[-1][0]:6.1f} min  {points[-1][1]:7.1f} MB  {replies} replies")
    settled = [one for one in points if one[0] * 60 >= _WARM_UP_SHARE * seconds]
    print(f"slope {slope(settled):+.2f} MB per minute over the last {len(settled)} readings")
    print(f"{failures} failures")
    return 0 if failures == 0 and replies else 1


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the line of least squares through *points*; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / below if below else 0.0


def _drive(
    proxy: Proxy, subject: Subject, n: int, connections: int, seconds: float
) -> loadgen.Measured:
    asked = requests(proxy.url, proxy.key, subject, n)
    return loadgen.run(loadgen.drive(asked, connections=connections, seconds=seconds))
