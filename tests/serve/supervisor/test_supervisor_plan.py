from __future__ import annotations

from rdv.decision import Decision, Http, ModelConfig, Server
from rdv.decision.accepted import changed_keys, held_back
from rdv.serve.supervisor.plan import changes, idle_instances, parts


def decision(**settings):
    models = {
        "gbm": ModelConfig(path="g.py", instances=2),
        "old": ModelConfig(path="o", retired=True),
    }
    return Decision(directory="d", **{"models": models, "partitions": 4, **settings})


def test_servers_then_workers_then_proxies():
    made = parts(decision(http=Http(port=9000, proxies=2)), {"gbm": "s1"})
    assert [part.name for part in made] == ["server-0", "gbm-0", "gbm-1", "p-9000", "p-9001"]
    assert made[1].arguments == ("worker", "d", "gbm", "--accepted", "--number", "0")
    assert (made[1].model, made[1].stamp) == ("gbm", "s1")


def test_no_more_servers_than_partitions():
    names = [part.name for part in parts(decision(partitions=2, server=Server(instances=4)), {})]
    assert names[:2] == ["server-0", "server-1"]
    assert "server-2" not in names


def running(made):
    return {part.name: part for part in made}


def test_nothing_changes_when_nothing_has_changed():
    made = parts(decision(), {"gbm": "s1"})
    assert changes(running(made), made) == ([], [], [])


def test_only_workers_come_go_and_are_replaced():
    before = parts(decision(), {"gbm": "s1"})
    models = {"gbm": ModelConfig(path="g.py", instances=1), "new": ModelConfig(path="n.py")}
    after = parts(decision(models=models, http=Http(port=9999)), {"gbm": "s2"})
    todo = changes(running(before), after)
    assert [part.name for part in todo.start] == ["new-0"]
    assert [part.name for part in todo.stop] == ["gbm-1"]
    assert [part.name for part in todo.replace] == ["gbm-0"]


def test_what_cannot_be_taken_over_is_named_and_held_back():
    before = decision()
    after = decision(http=Http(port=9999, keep_alive_ms=5), partitions=3)
    assert changed_keys(before, after, "serve") == ["partitions", "http.port"]
    assert changed_keys(before, after) == ["partitions", "http.port", "http.keep_alive_ms"]
    now = held_back(before, after)
    assert (now.partitions, now.http) == (4, Http(keep_alive_ms=5))
    assert changed_keys(before, decision(schedule="other"), "serve") == []


def test_decoys_are_not_announced_as_models():
    models = {"archive": ModelConfig(builtin="decoy"), "gbm": ModelConfig(path="g.py")}
    made = {part.name: part.model for part in parts(decision(models=models), {})}
    assert (made["archive-0"], made["gbm-0"]) == ("", "gbm")


def names(made):
    return [part.name for part in made if part.role == "worker"]


def test_no_more_instances_than_can_share_the_partitions():
    models = {"gbm": ModelConfig(path="g.py", instances=4)}
    assert names(parts(decision(models=models, partitions=3), {})) == ["gbm-0", "gbm-1", "gbm-2"]
    # Every proxy has its own topic.
    two = decision(models=models, partitions=2, http=Http(proxies=2))
    assert len(names(parts(two, {}))) == 4
    assert idle_instances(two) == []
    (line,) = idle_instances(decision(models=models, partitions=1))
    assert line.startswith("models.gbm.instances: 4 instances share 1 partition (")
    scaled = {"gbm": ModelConfig(path="g.py", instances_max=5)}
    (line,) = idle_instances(decision(models=scaled, partitions=2))
    assert line.endswith("only 2 will be started")


def test_a_model_that_scales_has_as_many_as_the_scaler_says():
    models = {
        "gbm": ModelConfig(path="g.py", instances_max=4),
        "rare": ModelConfig(path="r.py", instances_min=0),
        "fixed": ModelConfig(path="f.py"),
    }
    made = decision(models=models)
    assert names(parts(made, {})) == ["gbm-0", "fixed-0"]
    assert names(parts(made, {}, {"gbm": 2, "rare": 1, "fixed": 3})) == [
        "gbm-0", "gbm-1", "rare-0", "fixed-0",
    ]  # fmt: skip
