# SPDX-License-Identifier: Apache-2.0
"""The command lines of a node's processes."""

from pathlib import Path

import pytest

from poppy.edge.plane.processes import varnish_command
from tests.unit.edge.test_options import read


@pytest.mark.parametrize("wanted", [True, False])
def test_varnish_records_the_requests_of_clients_if_told_to(tmp_path: Path, wanted: bool) -> None:
    directories = (f"{name}_directory = {tmp_path}" for name in ("state", "run"))
    command = varnish_command(read(tmp_path, *directories, f"varnish_log = {wanted}"))

    masks = [it for it in command if it.startswith("vsl_mask=")]
    assert bool(masks) != wanted
    assert all("-ReqURL" in it and "Bereq" not in it and "Error" not in it for it in masks)
