# SPDX-License-Identifier: Apache-2.0
"""Bringing the schema to this version, for the commands that do so."""

import pathlib

from poppy.bootstrap import Bootstrap
from poppy.common import errors


def sync(bootstrap: Bootstrap) -> None:
    """Make the directory of the embedded database and bring the schema up to date.

    Raises:
        ConfigError: the directory can't be made, or the schema is newer than this Poppy.
    """
    path = pathlib.Path(bootstrap.conf.state_path)
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as exc:
        raise errors.ConfigError(f"[DEFAULT] state_path {path} can't be made: {exc}") from exc
    bootstrap.storage.sync()
