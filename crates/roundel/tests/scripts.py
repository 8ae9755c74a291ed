"""Plays the scripts of tests/scripts.rs on asyncio, and prints what happens in which turn.

A script is a line for each task, with its steps, and ends with an empty line.
"""

import asyncio
import sys

TURNS = 80


class World:
    def __init__(self):
        self.lock = asyncio.Lock()
        self.semaphore = asyncio.Semaphore(2)
        self.event = asyncio.Event()
        self.condition = asyncio.Condition()
        self.barrier = asyncio.Barrier(2)
        self.queue = asyncio.Queue(2)
        self.tasks = []
        self.turn = 0
        self.over = False

    def tick(self):
        self.turn += 1
        if not self.over:
            asyncio.get_running_loop().call_soon(self.tick)

    async def step(self, held, word, argument):
        match word:
            case "yield":
                await asyncio.sleep(0)
            case "lock":
                if "lock" not in held:
                    await self.lock.acquire()
                    held.append("lock")
            case "unlock":
                if "lock" in held:
                    held.remove("lock")
                    self.lock.release()
            case "sem":
                await self.semaphore.acquire()
                held.append("sem")
            case "unsem":
                if "sem" in held:
                    held.remove("sem")
                    self.semaphore.release()
            case "set":
                self.event.set()
            case "clear":
                self.event.clear()
            case "wait":
                await self.event.wait()
            case "cond":
                if "cond" not in held:
                    await self.condition.acquire()
                    held.append("cond")
            case "cwait":
                if "cond" in held:
                    await self.condition.wait()
            case "notify":
                if "cond" in held:
                    self.condition.notify(argument)
            case "uncond":
                if "cond" in held:
                    held.remove("cond")
                    self.condition.release()
            case "barrier":
                try:
                    return await self.barrier.wait()
                except asyncio.BrokenBarrierError:
                    return "broken"
            case "abort":
                await self.barrier.abort()
            case "reset":
                await self.barrier.reset()
            case "put":
                await self.queue.put(argument)
            case "get":
                return await self.queue.get()
            case "put_nowait":
                try:
                    self.queue.put_nowait(argument)
                except asyncio.QueueFull:
                    return "full"
            case "get_nowait":
                try:
                    return self.queue.get_nowait()
                except asyncio.QueueEmpty:
                    return "empty"
            case "cancel":
                self.tasks[argument].cancel()
        return "done"

    async def task(self, number, steps):
        held = []
        for word, argument in steps:
            try:
                outcome = await self.step(held, word, argument)
            except asyncio.CancelledError:
                if not self.over:
                    print(self.turn, number, word, "cancelled")
                break
            print(self.turn, number, word, outcome)
        for what in held:
            {"lock": self.lock, "sem": self.semaphore, "cond": self.condition}[what].release()

    async def play(self, script):
        asyncio.get_running_loop().call_soon(self.tick)
        self.tasks = [asyncio.create_task(self.task(*line)) for line in enumerate(script)]
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.over = True
        for task in self.tasks:
            task.cancel()
        while not all(task.done() for task in self.tasks):
            await asyncio.sleep(0)
            for task in self.tasks:
                task.cancel()


def steps(line):
    words = (step.split(":") for step in line.split())
    return [(word, int(argument)) for word, argument in words]


for script in sys.stdin.read().split("\n\n"):
    if script.strip():
        asyncio.run(World().play([steps(line) for line in script.strip().splitlines()]))
        print("--")
