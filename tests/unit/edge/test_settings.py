"""Where a setting comes from, what a wrong one is told, and what the log may show."""

from pathlib import Path

import pytest
from edgedet_edge.settings import EdgeSettings
from edgedet_runtime.layered_settings import SettingRefused, UnknownSetting


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text('threads = 2\ndeadline_ms = 200\nport = 2000\ncloud = ["file:1"]\n')
    return path


def test_flags_win_over_the_environment_over_the_file_over_the_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEDET_EDGE_DEADLINE_MS", "300")
    monkeypatch.setenv("EDGEDET_EDGE_PORT", "3000")
    settings = EdgeSettings.load(file, {"port": 4000, "threads": None, "host": None})
    assert (settings.port, settings.deadline_ms, settings.threads, settings.host) == (4000, 300, 2, "127.0.0.1")


def test_the_environment_parts_clouds_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEDET_EDGE_CLOUD", "a:1, b:2")
    assert EdgeSettings.load(None, {}).cloud == ("a:1", "b:2")


def test_one_file_does_not_speak_for_the_next(file: Path) -> None:
    assert EdgeSettings.load(file, {}).threads == 2
    assert EdgeSettings.load(None, {}).threads == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", 0),
        ("threads", "many"),
        ("port", 70_000),
        ("cloud", ("no-port",)),
        ("cloud", ("host:99999",)),
        ("cloud", ("http://10.0.0.5:9000",)),
        ("cloud", ("::1:9000",)),
        ("cloud", ("a b:9000",)),
        ("cloud", ("a:9000,b:9000",)),
        ("max_body_mb", float("inf")),
        ("drain_s", float("inf")),
        ("redis", "redis://localhost/0?ssl_cert_reqs=none"),
        ("redis", "http://localhost"),
        ("redis", "redis://localhost/0?protocol=9"),
        ("placement", "best"),
        ("placement", "fixed-boundary"),
        ("deadline_ms", 0),
        ("log_level", "loud"),
    ],
)
def test_a_wrong_value_names_its_field(name: str, value: object) -> None:
    with pytest.raises(SettingRefused, match=rf"^{name}\b.*: "):
        EdgeSettings.load(None, {name: value})


@pytest.mark.parametrize(
    "address", ["cloud:9000", "10.0.0.5:9000", "[::1]:9000", "[fe80::1%eth0]:9000", "cloud.site_1.example:1"]
)
def test_a_cloud_is_a_name_or_an_address_with_a_port(address: str) -> None:
    assert EdgeSettings.load(None, {"cloud": [address]}).cloud == (address,)


def test_a_photo_of_the_largest_size_has_room() -> None:
    assert EdgeSettings.load(None, {"max_body_mb": 600, "max_held_mb": 600}).max_held_mb == 600
    with pytest.raises(SettingRefused, match="500 MB have no room for one photo of --max-body-mb 600"):
        EdgeSettings.load(None, {"max_body_mb": 600})


@pytest.mark.parametrize(
    "url", ["rediss://host/0?ssl_cert_reqs=none", "unix:///run/redis.sock?db=1", "redis://host?db=2"]
)
def test_options_of_a_redis_url_are_taken(url: str) -> None:
    assert EdgeSettings.load(None, {"redis": url}).redis == url


def test_one_simulated_chip_has_one_worker(file: Path) -> None:
    assert EdgeSettings.load(None, {"capacity": "simulated"}).threads == 1
    with pytest.raises(SettingRefused, match=r"capacity: --capacity simulated .* --threads is 2; give --threads 1"):
        EdgeSettings.load(file, {"capacity": "simulated"})


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text("thread = 2\n")
    with pytest.raises(UnknownSetting, match=r"edge\.toml: no setting is called 'thread'; did you mean 'threads'"):
        EdgeSettings.load(path, {})


@pytest.mark.parametrize("content", [b"port =", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "edge.toml"
    path.write_bytes(content)
    with pytest.raises(SettingRefused, match=r"config: .*edge\.toml is not TOML: "):
        EdgeSettings.load(path, {})


@pytest.mark.parametrize("variable", ["EDGEDET_EDGE_DEADLINE", "edgedet_edge_deadline"])
def test_a_misspelled_name_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "300")
    with pytest.raises(
        UnknownSetting, match=f"{variable}: no setting is called 'deadline'; did you mean 'deadline_ms'"
    ):
        EdgeSettings.load(None, {})


def test_the_environment_is_read_in_either_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("edgedet_edge_deadline_ms", "300")
    assert EdgeSettings.load(None, {}).deadline_ms == 300


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:p%40ss@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:redis@redis/1", "rediss://user:***@redis/1"),
        ("redis://host/0?password=hush&db=1", "redis://host/0?password=***&db=1"),
    ],
)
def test_the_log_shows_no_password(url: str, shown: str) -> None:
    assert EdgeSettings(redis=url).masked()["redis"] == shown
