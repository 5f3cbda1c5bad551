// SPDX-License-Identifier: MIT
// Programs of the page's tests. Real Python: a real server runs them, the fake one knows them by their first line.

export const programs = {
  hello: `# test: hello
print("hello page")
6 * 7
`,
  stream: `# test: stream
import time
for i in range(4):
    print("line", i, flush=True)
    time.sleep(0.4)
`,
  colours: `# test: colours
import sys
print("\\033[31mred\\033[0m plain \\033[1;38;2;1;2;3mtrue\\033[0m", flush=True)
print("to stderr", file=sys.stderr, flush=True)
print("10%\\r100%", flush=True)
`,
  error: `# test: error
x = 1
raise ValueError("no luck")
`,
  forever: `# test: forever
print("going", flush=True)
while True:
    pass
`,
  denied: `# test: denied
import statistics
print(statistics.mean([1, 3]))
`,
  memory: `# test: memory
kept = []
while True:
    kept.append(bytearray(1_000_000))
`,
  grow: `# test: grow
import time
kept = []
for step in range(20):
    kept.append(bytearray(6_000_000))
    print("step", step, flush=True)
    time.sleep(0.2)
`,
  html: `# test: html
class H:
    def _repr_html_(self):
        return (
            "<style>.hot{color:rgb(200, 0, 0)}</style><b class=hot>styled</b><i style='color:rgb(0, 0, 200)'>inline</i>"
            "<script>parent.stolen=1;document.title='owned'</script>"
            "<img src=x onerror=\\"document.title='owned'\\"><a href='javascript:document.title=1'>x</a>"
            "<iframe src='/'></iframe><meta http-equiv=refresh content='0;url=/stolen'>"
            "<svg><script>parent.document.title='owned'</script></svg>"
        )
H()
`,
  svg: `# test: svg
class S:
    def _repr_svg_(self):
        return '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="document.title=1"><script>document.title="owned"</script><rect width="40" height="40" style="fill:#0a0"/></svg>'
S()
`,
  hostile: `# test: hostile
print("<script>document.title='owned'</script><img src=x onerror=alert(1)>")
print("\\033]0;owned\\007\\033[999;999H\\033[2J\\033P bomb \\033\\\\after")
`,
  flood: `# test: flood
import sys
sys.stdout.write("x" * 10_000_000)
print()
print("the end")
`,
  ansi: `# test: ansi
print("".join(f"\\033[{30 + i % 8}m{i % 10}" for i in range(200_000)))
print("\\033[0mthe end")
`,
  plot: `# test: plot
import matplotlib.pyplot as plt
plt.plot([1, 2, 3], [4, 5, 6], label="rise")
plt.title("Rise")
plt.show()
`,
  frame: `# test: frame
import pandas as pd
pd.DataFrame({"a": [1, 2], "b": ["x", "<b>y</b>"]})
`,
};
