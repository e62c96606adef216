"""Benches: the services of a device on fakes; what a test builds is taken down after it."""

import pytest

from ska_oso_activity.application import activity_run
from tests.unit.application.activity_bench import Bench
from tests.unit.application.procedure_bench import ProcedureBench


@pytest.fixture
def benches(monkeypatch):
    """Builds benches; several in one test are lives of one device, or several devices."""
    # Delivery is tried for 5 s in earnest; here for long enough that it is tried again.
    monkeypatch.setattr(activity_run, "DELIVERY_TIME", 0.15)
    built = []

    def build(**parts):
        bench = Bench(**parts)
        built.append(bench)
        return bench

    yield build
    for bench in built:
        bench.close()


@pytest.fixture
def bench(benches):
    """One life of an ActivityDevice, begun."""
    return benches().begin()


@pytest.fixture
def workshops():
    """Builds benches of ScriptExecution; several in one test are lives of one device."""
    built = []

    def build(bench=None, **parts):
        built.append(bench or ProcedureBench(**parts))
        return built[-1]

    yield build
    for bench in built:
        bench.close()


@pytest.fixture
def workshop(workshops):
    """One life of a ScriptExecution, begun."""
    return workshops().begin()
