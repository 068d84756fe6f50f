# SPDX-License-Identifier: Apache-2.0
"""Pages that are played on a Poppy of their own: each command is run, and shows what they say."""

import pytest

from tests.real.pages import SOURCE, Shell, play
from tests.real.poppy import Installation


@pytest.fixture
def site(tmp_path):
    """A Poppy whose configuration is found in the home."""
    (tmp_path / ".poppy").mkdir()
    (tmp_path / "state").mkdir()
    made = Installation(tmp_path / "state")
    (tmp_path / ".poppy" / "poppy.conf").write_text(made.config.read_text())
    made.session.headers["X-Project-ID"] = "42"
    with made.daemon("poppy-standalone"):
        made.wait_until_up()
        yield made
    made.session.close()


@pytest.fixture
def shell(tmp_path, site):
    made = Shell(tmp_path, {"POPPY_ENDPOINT": site.base, "POPPY_PROJECT_ID": "42"})
    yield made
    made.close()


def test_poppy_manage(site, shell, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new.conf").write_text(
        site.config.read_text().replace(str(tmp_path / "state"), str(tmp_path / "new"))
    )

    def note(name, value):
        assert (name, value) == ("service", "create")
        url = site.create_service(name="my web site", origins=[{"origin": "origin.example.com"}])
        site.wait_for(url, "deployed")

    ran = play(SOURCE / "manage.rst", shell, tmp_path, note)
    assert len(ran) > 15
