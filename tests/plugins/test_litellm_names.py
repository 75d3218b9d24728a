"""The pinned LiteLLM has every name that we lead it by; other releases warn or are refused."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from plugins import _litellm
from plugins import _litellm_names as names


def test_the_installed_release_is_the_tested_one() -> None:
    assert version("litellm") == names.TESTED


def test_the_tested_release_has_every_name_that_we_use() -> None:
    assert names.missing_names(names.NEEDED) == []
    assert names.missing_names(names.NEEDED_BY_THE_FAST_PATH) == []


def test_a_name_that_has_moved_is_named() -> None:
    gone = {"litellm.proxy.proxy_server": ("app", "no_such_name", "app.no_such_attribute")}
    assert names.missing_names(gone) == [
        "litellm.proxy.proxy_server.no_such_name",
        "litellm.proxy.proxy_server.app.no_such_attribute",
    ]


def test_the_tested_release_starts_without_a_word() -> None:
    assert names.check_release() is None


@pytest.mark.parametrize("release", ["1.82.7", "1.82.8"])
def test_a_compromised_release_is_refused(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr(names, "version", lambda _: release)
    with pytest.raises(RuntimeError, match=f"{release} is a compromised release"):
        names.check_release()


@pytest.mark.parametrize("release", ["1.82.6", "1.82.70", "1.999.0", "2.0.0rc1"])
def test_an_untested_release_warns(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr(names, "version", lambda _: release)
    warning = names.check_release()
    assert warning is not None
    assert release in warning
    assert names.TESTED in warning


def test_a_release_without_a_version_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    def version_of(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(names, "version", version_of)
    assert names.TESTED in (names.check_release() or "")


def test_the_tested_release_lets_plain_requests_take_the_short_way() -> None:
    way = _litellm.short_way()
    assert way is not None
    assert way.is_open()
