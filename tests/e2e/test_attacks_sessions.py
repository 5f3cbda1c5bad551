# SPDX-License-Identifier: MIT
"""Attacks on sessions that once worked. Each with what shows that the test would see it."""
from __future__ import annotations

import session_server as server

OPEN = {"allowed_modules": ["*"], "allow_file_operations": True}


def test_a_session_that_ends_while_its_files_are_carried_over():
    """After a restart its files are put into the new jail; its end met a jail that was gone, and the engine ended."""
    with server.serving() as serve:
        bystander = serve.session()
        bystander.run("kept = 1")
        for _ in range(3):
            session = serve.session(**OPEN, max_disk_mb=256, max_memory_mb=512, max_execution_time=30)
            made = session.run("for i in range(48): open(f'f{i}', 'wb').write(bytes(1 << 20))")
            assert made["status"] == "ok", made["error"]
            assert session.post("restart")[0] == 200
            while session.describe()["state"] == "starting":
                pass
            session.end()
            session.wait_for(None)
        assert bystander.value("kept") == 1
        assert "unexpectedly" not in serve.http.said()
