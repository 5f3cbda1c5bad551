// SPDX-License-Identifier: MIT
// Programs to begin with; each says which preset it wants.
import type { Key } from "./messages";

export const examples: { title: Key; preset: string; code: string }[] = [
  {
    title: "example_grow",
    preset: "data",
    code: `import time

kept = []
for step in range(20):
    kept.append(bytearray(6_000_000))
    print(f"step {step + 1:2}: {len(kept) * 6} MB")
    time.sleep(0.2)
`,
  },
  {
    title: "example_denied",
    preset: "strict",
    code: `import math
import statistics

print(statistics.mean([math.pi, math.e]))
`,
  },
  {
    title: "example_plot",
    preset: "data",
    code: `import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 10, 300)
plt.plot(x, np.sin(x), label="sin")
plt.plot(x, np.exp(-x / 4) * np.cos(3 * x), label="damped")
plt.legend()
plt.title("Two waves")
plt.show()
`,
  },
  {
    title: "example_table",
    preset: "data",
    code: `import pandas as pd

frame = pd.DataFrame({"city": ["Oslo", "Lima", "Pune"], "people": [709_037, 10_092_000, 3_124_458]})
frame["millions"] = frame["people"] / 1e6
frame
`,
  },
  {
    title: "example_colours",
    preset: "data",
    code: `import sys

for i in range(8):
    print(f"\\033[{30 + i}m colour {i} \\033[1mbold\\033[0m \\033[{100 + i}m   \\033[0m")
print("this went to stderr", file=sys.stderr)
`,
  },
];
