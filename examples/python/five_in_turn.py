"""The twin of five_sources.py without asyncio: each wait is over before the next one begins."""

import time

STATIONS = {"Bergen": 0.3, "Lisbon": 0.1, "Oulu": 0.5, "Graz": 0.2, "Cork": 0.4}


def measure(station, delay):
    print(f"asking {station}")
    time.sleep(delay)
    print(f"{station} has answered")
    return f"{station} {len(station) + 5} C"


began = time.monotonic()
answers = [measure(name, delay) for name, delay in STATIONS.items()]
print("; ".join(answers))
print(f"took {time.monotonic() - began:.2f} s")
