# ./dev run --preset data examples/plot.py
import os

import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 4 * np.pi, 400)
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for damping in (0.0, 0.1, 0.3):
    axes.plot(x, np.sin(x) * np.exp(-damping * x), label=f"damping {damping}")
axes.set(title="A damped oscillation", xlabel="time", ylabel="amplitude")
axes.legend()

# Its working directory is its own, in memory, and gone with it.
figure.savefig("plot.png", dpi=100)
size = os.path.getsize("plot.png")
with open("plot.png", "rb") as file:
    head = file.read(24)
width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
print(f"plot.png: {width} x {height} pixels, {size} bytes")

__result__ = {"bytes": size, "width": width, "height": height, "png": head[1:4] == b"PNG"}
