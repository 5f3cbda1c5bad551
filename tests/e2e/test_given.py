# SPDX-License-Identifier: MIT
"""Files that come with a request are readable without file operations, and nothing else is."""
import pytest

from runner import run_command


def run(tmp_path, code):
    (tmp_path / "d.csv").write_text("a,b\n")
    ran = run_command("run", "--json", "--set", "allowed_modules=os,pathlib,csv", "--file", str(tmp_path / "d.csv"), "-c", code)
    return ran.result


@pytest.mark.parametrize("code", [
    "open('d.csv').read()", "open('./d.csv').read()", "open('/work/d.csv').read()", "open(b'd.csv').read()", "open('d.csv', 'rb').read().decode()",
    "import pathlib\npathlib.Path('d.csv').read_text()", "import os\nos.read(os.open('d.csv', os.O_RDONLY), 9).decode()",
])
def test_given_files_are_readable(tmp_path, code):
    result = run(tmp_path, code)
    assert result["result"] == "a,b\n" and result["events"] == [], result["stderr"]


@pytest.mark.parametrize("code", [
    "open('d.csv', 'r+')", "open('d.csv', 'w')", "open('d.csv', 'a')", "open('d.csvx')", "open('/work/../work/d.csv')", "open('/etc/passwd')",
    "open('')", "import os\nos.open('d.csv', os.O_RDWR)", "import os\nos.open('d.csv', os.O_TRUNC)", "import os\nos.remove('d.csv')",
    "import os\nos.listdir('.')",
])
def test_nothing_else_is(tmp_path, code):
    result = run(tmp_path, code)
    assert result["status"] == "denied", result["error"]
    assert "allow_file_operations" in result["error"]["value"]
