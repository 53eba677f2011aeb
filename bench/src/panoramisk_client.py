"""The client of panoramisk for `ami`: says when it is ready, takes all events, and tells what that cost."""

import asyncio
import json
import resource
import sys
import time

from panoramisk import Manager


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(port, wanted):
    loop = asyncio.get_running_loop()
    ready, done = loop.create_future(), loop.create_future()
    count, first, before = 0, 0.0, 0.0

    def on_login(_manager):
        nonlocal before
        before = cpu_s()
        ready.set_result(None)

    def on_event(_manager, _event):
        nonlocal count, first
        count += 1
        if count == 1:
            first = time.monotonic()
        if count == wanted:
            done.set_result((time.monotonic() - first, cpu_s() - before))

    manager = Manager(
        loop=loop, host="127.0.0.1", port=port, username="bench", secret="bench", on_login=on_login
    )
    manager.register_event("*", on_event)
    manager.connect()
    await ready
    print("ready", flush=True)
    wall, cpu = await done
    print(json.dumps({"events": count, "wall_s": wall, "cpu_s": cpu}), flush=True)


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
