# ./dev run examples/hello.py
import math

print("Hello from inside the sandbox.")
print("2 to the power of 100 is", 2**100)

# What a program sets as __result__ is its value: `sandbox run --json` and the SDK hand it over as typed data.
__result__ = {"answer": 6 * 7, "pi": math.pi, "primes": [n for n in range(2, 30) if all(n % d for d in range(2, n))]}
