"""The parts that RedFire is made of: locks, the bill of materials, and known vulnerabilities, looked up offline."""
