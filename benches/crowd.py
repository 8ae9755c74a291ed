"""Open-ended load: as many requests as a server answers, and how long each one takes.

    python benches/crowd.py [--rounds N] [--seconds S] [--loops a,b] [--markdown]

The scenes: many connections of which few are active; all of them active, with messages of mixed sizes; and a hundred
quiet ones, alone and beside a noisy one that sends as fast as the server reads. A Protocol echo serves them, on a CPU
of its own. The client (crowd.c) never sleeps, so latencies are those of the server and of the line in front of it.

Trade: wall-clock times, which other work on the machine makes longer. The loops take turns, and the medians of the
rounds are shown.
"""

import argparse
import json
import os
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import leash
from compiled import program
from loops import FACTORIES, is_installed, title
from report import aligned, markdown, put
from server import two_cpus
from sockets import SOCKET_ROWS, serving

K = 1024
MIXED = (64, 64, 256, K, K, 4 * K, 16 * K, 64 * K)
HEAD = ["", "loop", "requests/s", "p50", "p99", "p99.9", "MiB"]
KEYS = ("per_second", "p50", "p99", "p999", "mib")


@dataclass(frozen=True)
class Scene:
    """One kind of load: so many connections, with so many requests under way among them."""

    title: str
    connections: int
    active: int
    noisy: int = 0
    sizes: tuple[int, ...] = (K,)


SCENES = (
    Scene("10,000 connections, 100 requests of 1 KB under way", 10_000, 100),
    Scene("1,000 connections, all active, 64 B to 64 KB", 1_000, 1_000, sizes=MIXED),
    Scene("100 connections, 4 requests of 1 KB under way", 100, 4),
    Scene("the same beside one that sends without waiting", 100, 4, noisy=1),
)


def measure(scene: Scene, loop: str, seconds: float) -> dict[str, float]:
    """Run server and client; return requests per second, latencies in microseconds, the server's size in MiB."""
    with serving(SOCKET_ROWS["tcp-1k"], loop) as (pid, port):
        numbers = (port, scene.connections, scene.active, scene.noisy, seconds, 1, *scene.sizes)
        answer = leash.run(
            [program("crowd"), *map(str, numbers)],
            cpus=two_cpus()[-1:],
            capture_output=True,
            text=True,
            timeout=60 + 3 * seconds,
        )
        if answer.returncode:
            raise RuntimeError(answer.stderr.strip() or f"the client ended with {answer.returncode}")
        pages = int(Path("/proc", str(pid), "statm").read_text().split()[1])
        found: dict[str, float] = json.loads(answer.stdout)
        return {**found, "mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20}


def line(what: str, loop: str, rounds: list[dict[str, float]]) -> list[str]:
    """A line of the table: the medians."""
    medians = [statistics.median(each[key] for each in rounds) for key in KEYS]
    return [what, title(loop), f"{medians[0]:,.0f}", *[f"{each:.0f}" for each in medians[1:4]], f"{medians[4]:.1f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Open-ended load on roundel and on another loop.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--loops", default="uvloop,roundel-loop", help=f"of {', '.join(FACTORIES)}")
    parser.add_argument("--markdown", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    loops = [loop for loop in options.loops.split(",") if is_installed(loop)]
    cells = [HEAD]
    for scene in SCENES:
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(options.rounds):
            for loop in loops:
                found[loop].append(measure(scene, loop, options.seconds))
        cells += [line(scene.title, loop, rounds) for loop, rounds in found.items()]
        print(aligned([HEAD, *cells[-len(loops) :]]) + "\n", flush=True)
    if options.markdown:
        put(Path(__file__).resolve().parent.parent / "docs/performance.md", "crowd", markdown(cells))


if __name__ == "__main__":
    main()
