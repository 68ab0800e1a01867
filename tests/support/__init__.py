"""Made data, toys, small networks and other evaluators, for the tests of every folder."""
