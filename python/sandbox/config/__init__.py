# SPDX-License-Identifier: MIT
"""What a sandboxed program may do and use."""

from sandbox.config.settings import DEFAULT_SETTINGS, SandboxSettings

__all__ = ["DEFAULT_SETTINGS", "SandboxSettings"]
