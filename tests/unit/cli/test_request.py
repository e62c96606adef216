import pytest

from ska_oso_activity.cli.errors import UsageError
from ska_oso_activity.cli.request import block_keys, read_script_args


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("sbd-1", {"sbd_id": "sbd-1"}),
        ("oda://sbd-1?version=2", {"sb_uri": "oda://sbd-1?version=2"}),
        ("file:///a/b.json", {"sb_uri": "file:///a/b.json"}),
    ],
)
def test_a_block_is_named_by_id_or_uri(typed, keys):
    assert block_keys(typed) == keys


@pytest.mark.parametrize("typed", ["missing.json", "no/such", "./block"])
def test_a_file_that_is_missing_is_told(typed):
    with pytest.raises(UsageError, match="no such file"):
        block_keys(typed)


def test_a_block_in_a_file_becomes_an_absolute_uri(tmp_path, monkeypatch):
    (tmp_path / "my block.json").write_text("{}")
    monkeypatch.chdir(tmp_path)

    assert block_keys("my block.json") == {"sb_uri": f"file://{tmp_path}/my%20block.json"}


def test_script_args_are_json_or_a_file(tmp_path):
    file = tmp_path / "args.json"
    file.write_text('{"main": {"args": [1]}}')

    assert read_script_args(None) == {}
    assert read_script_args('{"init": {}}') == {"script_args": {"init": {}}}
    assert read_script_args(f"@{file}") == {"script_args": {"main": {"args": [1]}}}


@pytest.mark.parametrize("typed", ["{", "[1]", '{"a": NaN}', '{"a": 1, "a": 2}', "@/no/such/file"])
def test_other_script_args_are_refused(typed):
    with pytest.raises(UsageError, match="--script-args"):
        read_script_args(typed)
