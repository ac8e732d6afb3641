"""Check the supervisor by made-up histories, with fake processes and a fake clock."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from fake_clock import FakeClock

from rdv.decision import InvalidDecision
from rdv.serve.supervisor.plan import Part
from rdv.serve.supervisor.supervisor import DoesNotStart, Supervisor

SERVER = Part("server-0", "server", ())
GBM = Part("gbm-0", "worker", (), "gbm", "v1")
PROXY = Part("p-1", "proxy", ())


class Fake:
    """A fake process ends when the supervisor stops it, or when the history says so."""

    def __init__(self, world, part, ended, pid):
        self.world, self.part, self.pid, self._ended = world, part, pid, ended

    def end(self, code):
        if self in self.world.alive:
            self.world.alive.remove(self)
            self.world.log.append(f"- {self.part.name} {self.part.stamp}".rstrip())
            self._ended(code)

    def ready(self):
        self.world.supervisor.reported(self.part.name, self.pid, "ready")

    def reap(self):
        pass

    def kill(self):
        self.end(-9)

    async def stop(self, grace_s):
        self.end(0)


class World:
    """Record what happens, in order: `+` started, `-` ended, models up and down, log lines."""

    def __init__(self, wanted, comes_up=lambda part: True):
        self.wanted, self.comes_up = wanted, comes_up
        self.alive, self.log, self.words = [], [], []
        self.models = {}
        self.pids = count(1)
        self.settled = asyncio.Event()
        self.missing = None
        self.supervisor = Supervisor(self.parts, self, self.launch, FakeClock())

    def parts(self):
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return list(self.wanted)

    def launch(self, part, line, ended):
        process = Fake(self, part, ended, next(self.pids))
        self.alive.append(process)
        self.log.append(f"+ {part.name} {part.stamp}".rstrip())
        loop = asyncio.get_running_loop()
        loop.call_soon(process.ready if self.comes_up(part) else lambda: process.end(1))
        return process

    def find(self, name):
        return next(process for process in self.alive if process.part.name == name)

    def child_line(self, part, line):
        pass

    def own_line(self, line, code="", about=""):
        self.words.append(line)

    def own_event(self, event):
        self.words.append(event.message)

    def model_state(self, model, *, is_up, code=""):
        if self.models.get(model) is not is_up:
            self.models[model] = is_up
            self.log.append(f"{model} {'up' if is_up else 'down'}")

    def all_settled(self, missing):
        self.missing = missing
        self.settled.set()


def play(world_of, history):
    async def run():
        world = world_of()
        running = asyncio.ensure_future(world.supervisor.run())
        waiting = asyncio.ensure_future(world.settled.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await history(world)
            world.supervisor.stop()
        waiting.cancel()
        await running
        return world

    return asyncio.run(run())


async def quiet():
    """Wait until nothing more happens by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_proxy_opens_last_and_closes_first():
    async def nothing(world):
        assert world.missing == []

    world = play(lambda: World([SERVER, GBM, PROXY]), nothing)
    assert world.log == [
        "gbm down", "+ server-0", "+ gbm-0 v1", "gbm up", "+ p-1",
        "- p-1", "- gbm-0 v1", "gbm down", "- server-0",
    ]  # fmt: skip


def test_a_process_that_ends_is_restarted_and_its_model_is_down_meanwhile():
    async def kill(world):
        world.log.clear()
        world.find("gbm-0").end(-9)
        await quiet()
        assert world.log == ["- gbm-0 v1", "gbm down", "+ gbm-0 v1", "gbm up"]
        assert "gbm-0 ended (killed by SIGKILL); started again at once" in world.words

    play(lambda: World([SERVER, GBM, PROXY]), kill)


def test_the_successor_is_there_before_the_old_one_goes():
    async def edit(world):
        world.wanted = [SERVER, GBM._replace(stamp="v2"), PROXY]
        world.log.clear()
        world.supervisor.edited()
        await quiet()
        assert world.log == ["+ gbm-0 v2", "- gbm-0 v1"]

    play(lambda: World([SERVER, GBM, PROXY]), edit)


NEVER = 78


def test_a_model_that_cannot_be_loaded_waits_for_an_edit():
    """Nothing starts it again but another stamp, new settings, or another set of libraries."""

    async def refuse(world):
        process = world.find("gbm-0")
        world.log.clear()
        process.end(NEVER)
        await quiet()
        for _ in range(3):
            world.supervisor.edited()
            await quiet()
        assert world.log == ["- gbm-0 v1", "gbm down"]
        assert world.supervisor.waiting() == {process.pid}
        assert "it waits for a change of models/gbm.txt" in world.words[-1]
        world.wanted = [SERVER, named._replace(stamp="v2"), PROXY]
        world.supervisor.edited()
        await quiet()
        assert world.log[2:] == ["+ gbm-0 v2", "gbm up"]
        assert world.supervisor.waiting() == set()

    named = GBM._replace(made_of="models/gbm.txt")
    play(lambda: World([SERVER, named, PROXY]), refuse)


def test_a_library_that_is_installed_starts_a_model_that_waits(monkeypatch):
    installed = []
    monkeypatch.setattr("rdv.serve.supervisor.supervisor.library_signs", lambda: tuple(installed))

    async def install(world):
        world.find("gbm-0").end(NEVER)
        await quiet()
        world.log.clear()
        installed.append(1)
        world.supervisor.edited()
        await quiet()
        assert world.log == ["+ gbm-0 v1", "gbm up"]

    play(lambda: World([SERVER, GBM, PROXY]), install)


def test_a_model_that_sleeps_and_cannot_be_loaded_is_not_tried_at_each_wake_up():
    async def wake(world):
        world.find("gbm-0").end(NEVER)
        await quiet()
        world.log.clear()
        for wanted in ([SERVER, PROXY], [SERVER, GBM, PROXY]):
            world.wanted = wanted
            world.supervisor.edited()
            await quiet()
        assert world.log == []
        world.wanted = [SERVER._replace(stamp="2"), GBM, PROXY]
        world.supervisor.edited()
        await quiet()
        assert world.log == ["+ gbm-0 v1", "gbm up"]

    play(lambda: World([SERVER, GBM, PROXY]), wake)


def test_a_successor_that_does_not_start_leaves_the_old_one_in_place():
    async def edit(world):
        world.wanted = [SERVER, GBM._replace(stamp="bad"), PROXY]
        world.log.clear()
        world.supervisor.edited()
        await quiet()
        assert world.log == ["+ gbm-0 bad", "- gbm-0 bad"]
        assert world.words[-1] == "gbm-0: the new version does not start; the old one stays"
        world.supervisor.edited()
        await quiet()
        assert len(world.log) == 2, "the same file is not tried again"
        world.wanted = [SERVER, GBM._replace(stamp="v3"), PROXY]
        world.supervisor.edited()
        await quiet()
        assert world.log[2:] == ["+ gbm-0 v3", "- gbm-0 v1"]

    play(lambda: World([SERVER, GBM, PROXY], lambda part: part.stamp != "bad"), edit)


@pytest.mark.parametrize("lost", [SERVER, GBM, PROXY])
def test_a_good_edit_ends_a_back_off_at_once(monkeypatch, lost):
    """A delay lasts hours here, so that only the edit can start the process again."""
    for name in ("FIRST_DELAY_MS", "DELAY_MS_MAX"):
        monkeypatch.setattr(f"rdv.serve.supervisor.plan.{name}", 1e7)
    bad = set()

    async def edit(world):
        bad.add(lost.name)
        for _ in range(20):
            if any(process.part.name == lost.name for process in world.alive):
                world.find(lost.name).end(1)
            await quiet()
        assert "in " in next(w for w in reversed(world.words) if w.startswith(lost.name))
        world.log.clear()
        await quiet()
        assert world.log == []
        bad.clear()
        stamped = lost._replace(stamp="v2")
        world.wanted = [stamped if p.name == lost.name else p for p in world.wanted]
        world.supervisor.edited()
        await quiet()
        assert world.find(lost.name).part == stamped
        assert any(line.startswith(f"+ {lost.name}") for line in world.log)
        assert world.supervisor.pids()[world.find(lost.name).pid] == lost.name

    play(lambda: World([SERVER, GBM, PROXY], lambda part: part.name not in bad), edit)


def test_an_edit_that_cannot_be_used_changes_nothing():
    async def edit(world):
        world.wanted = InvalidDecision("rdv.toml", "http.port", "is odd")
        world.log.clear()
        world.supervisor.edited()
        await quiet()
        assert (world.log, world.words[-1]) == (
            [],
            "rdv.toml: http.port: is odd; nothing is changed",
        )

    play(lambda: World([SERVER, GBM, PROXY]), edit)


def test_the_decision_is_served_without_a_model_that_does_not_start():
    async def nothing(world):
        assert world.missing == ["gbm-0"]

    play(lambda: World([SERVER, GBM, PROXY], lambda part: not part.model), nothing)


def test_without_a_server_it_is_given_up(monkeypatch):
    monkeypatch.setattr("rdv.serve.supervisor.plan.FIRST_DELAY_MS", 0.001)

    async def nothing(world):
        await asyncio.Event().wait()

    with pytest.raises(DoesNotStart) as caught:
        play(lambda: World([SERVER, GBM, PROXY], lambda part: part.role != "proxy"), nothing)
    assert caught.value.name == "p-1"


def test_models_come_and_go():
    new = Part("new-0", "worker", (), "new", "n1")

    async def edit(world):
        world.wanted = [SERVER, new, PROXY]
        world.log.clear()
        world.supervisor.edited()
        await quiet()
        assert world.log == ["+ new-0 n1", "new up", "- gbm-0 v1", "gbm down"]

    play(lambda: World([SERVER, GBM, PROXY]), edit)


def test_the_second_stop_kills():
    class Deaf(Fake):
        killed = asyncio.Event()

        async def stop(self, grace_s):
            await self.killed.wait()

        def end(self, code):
            super().end(code)
            self.killed.set()

    async def stop(world):
        world.find("p-1").__class__ = Deaf
        world.supervisor.stop()
        await quiet()
        assert world.find("p-1")

    world = play(lambda: World([SERVER, PROXY]), stop)
    assert world.alive == []
    assert "killing what is left" in world.words


def test_a_bug_of_its_own_ends_it_and_does_not_hide():
    class Broken(World):
        def all_settled(self, missing):
            raise ZeroDivisionError

    async def nothing(world):
        pass

    with pytest.raises(ZeroDivisionError):
        play(lambda: Broken([SERVER, PROXY]), nothing)
