# SPDX-License-Identifier: Apache-2.0
"""Extensions: routes for operators that belong to one vendor; see :mod:`poppy.extensions.base`."""
