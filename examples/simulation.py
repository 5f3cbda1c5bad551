# ./dev run --preset data examples/simulation.py
import numpy as np

# How many people does it take until two share a birthday, and how likely is it among a given number?
rng = np.random.default_rng(2024)
GROUPS = 20_000

print("people  simulated  exact")
shares = {}
for people in (10, 23, 30, 50):
    birthdays = np.sort(rng.integers(0, 365, size=(GROUPS, people)), axis=1)
    shares[people] = float((np.diff(birthdays, axis=1) == 0).any(axis=1).mean())
    exact = 1 - np.prod((365 - np.arange(people)) / 365)
    print(f"{people:6}  {shares[people]:9.3f}  {exact:5.3f}")

# A random walk in the plane ends, after n steps, about sqrt(n) from where it began.
steps = 1_000
turns = rng.uniform(0, 2 * np.pi, size=(2_000, steps))
ends = np.stack([np.cos(turns).sum(axis=1), np.sin(turns).sum(axis=1)], axis=1)
distance = float(np.sqrt((ends**2).sum(axis=1).mean()))
print(f"\nroot mean square distance after {steps} steps: {distance:.2f}, expected {np.sqrt(steps):.2f}")

__result__ = {"shares": shares, "distance": distance}
