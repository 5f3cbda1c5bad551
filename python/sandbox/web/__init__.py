# SPDX-License-Identifier: MIT
"""The page."""
