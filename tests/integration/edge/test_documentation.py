"""The pages about the interface show without internet: cameras' sites often have none."""

import re

import httpx
import pytest


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_loads_all_that_it_needs_from_the_node(client: httpx.Client, path: str) -> None:
    page = client.get(path)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "://" not in page.text
    needed = re.findall(r"""(?:src|href|spec-url)=["']([^"']+)|url: '([^']+)'""", page.text)
    assert len(needed) >= 3
    for address in map("".join, needed):
        assert address.startswith("/")
        assert client.get(address).status_code == 200, address


def test_the_page_asks_no_validator_on_the_internet(client: httpx.Client) -> None:
    assert '"validatorUrl": null' in client.get("/docs").text
