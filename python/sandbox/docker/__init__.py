# SPDX-License-Identifier: MIT
"""The sandbox in a container: the image of ``deploy/docker`` through Docker's or podman's API."""
