# ./dev run --preset data examples/csv_analysis.py < examples/data/seattle-weather.csv
# or, with the checkout to read from: ./dev run --preset data --set allowed_directories=.:ro examples/csv_analysis.py
import os
import sys

import pandas as pd

PATH = "examples/data/seattle-weather.csv"

# A program sees a file of the host only if its directory was granted; else the data come by stdin.
days = pd.read_csv(PATH if os.path.exists(PATH) else sys.stdin, parse_dates=["date"])
days["year"] = days["date"].dt.year
days["month"] = days["date"].dt.month

print(f"{len(days)} days of weather in Seattle, {days['date'].min():%Y-%m-%d} to {days['date'].max():%Y-%m-%d}\n")

years = days.groupby("year").agg(
    rain_mm=("precipitation", "sum"),
    rainy_days=("precipitation", lambda column: int((column > 0).sum())),
    mean_high=("temp_max", "mean"),
    hottest=("temp_max", "max"),
    coldest=("temp_min", "min"),
)
print(years.round(1).to_string(), "\n")

months = days.groupby("month")["precipitation"].sum() / days["year"].nunique()
print("Rain in an average month:")
for month, rain in months.items():
    print(f"  {pd.Timestamp(2000, month, 1):%b} {rain:6.1f} mm {'#' * round(rain / 5)}")

kinds = days["weather"].value_counts(normalize=True)
print("\nDays by kind:", ", ".join(f"{kind} {share:.0%}" for kind, share in kinds.items()))

wet = days.loc[days["precipitation"].idxmax()]
print(f"The wettest day was {wet['date']:%Y-%m-%d} with {wet['precipitation']} mm.")
print(f"Warm days are dry: correlation of rain and high is {days['precipitation'].corr(days['temp_max']):.2f}.")

__result__ = years
