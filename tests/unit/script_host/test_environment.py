"""The environment of scripts: an allow-list, and what only a new interpreter can take on."""

from __future__ import annotations

import pytest

from ska_oso_activity.script_host.environment import (
    MARK,
    differ_at_start,
    mark_of,
    passed_on,
    script_environment,
    spare_mark,
)


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "TANGO_HOST"),
        *("ORBendPoint", "OMNIORB_CONFIG", "ODA_DATA_DIR", "PGHOST", "PGPASSWORD"),
        *("POSTGRES_HOST", "ADMIN_POSTGRES_USER", "ADMIN_POSTGRES_PASSWORD", "SKUID_URL"),
        *("SKA_TELESCOPE", "CENTRALNODE_TRL", "SUBARRAYNODE_FQDN_PREFIX", "KUBE_NAMESPACE"),
        *("PYTHONPATH", "HTTPS_PROXY", "no_proxy", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    ],
)
def test_what_scripts_need_is_passed_on(name):
    assert passed_on({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "CI_JOB_TOKEN", "DB_PASSWORD", "KUBERNETES_SERVICE_HOST"),
        *("SKA_AUTH_TOKEN", "SKA_DB_PASSWORD", "SKA_API_KEY", "SSH_AUTH_SOCK", "PIP_INDEX_URL"),
        *("SKA_OSO_ACTIVITY_LIFELINE", MARK, "LD_PRELOAD", "Path", "EDITOR"),
    ],
)
def test_nothing_else_is(name):
    assert passed_on({name: "x"}) == {}


def test_what_was_asked_for_wins_and_may_be_anything():
    made = script_environment(
        {"HOME": "/root", "CI_JOB_TOKEN": "x"},
        {"HOME": "/elsewhere", "GITHUB_TOKEN": "on purpose"},
        mark_of("abc", 7),
    )

    assert made == {
        "HOME": "/elsewhere",
        "GITHUB_TOKEN": "on purpose",
        "PYTHONUNBUFFERED": "1",
        MARK: "abc:7",
    }


def test_a_spare_mark_can_become_any_other():
    assert len(spare_mark("abc")) >= len(mark_of("abc", 2**63))
    assert int(spare_mark("abc").partition(":")[2]) == 0


def test_variables_that_an_interpreter_reads_at_its_start_are_told_apart():
    one = {"PYTHONPATH": "/a", "LANG": "C", "LC_ALL": "C", "HOME": "/a", "PYTHONUNBUFFERED": "1"}
    other = {"PYTHONPATH": "/b", "LANG": "C", "HOME": "/b", "PYTHONHASHSEED": "1"}

    assert differ_at_start(one, other) == ["LC_ALL", "PYTHONHASHSEED", "PYTHONPATH"]
    assert differ_at_start(one, one) == []
