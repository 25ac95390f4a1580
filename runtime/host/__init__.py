"""What can this machine do? One file a subject; `report.py` puts them together for `launch doctor` and the tests' markers."""
