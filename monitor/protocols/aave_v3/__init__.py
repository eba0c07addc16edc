"""Aave V3, versions 3.0 to 3.7, and its forks such as SparkLend.

How it is laid out: `versions` is the table of differences, `math` the integer functions, `words` the packed words,
`records` what is known, `static` and `reading` the read plans, `account` the six numbers, `liquidation` the call,
`verdict` the Health made of both, `search` bounds for searches, `explain` the numbers in words. To act:
`templates` the calls, `effects` what they do to an account, `purse` what a guardian has, `rescue` what it could do with
it, `reverts` the names of refusals.
"""

from monitor.protocols.aave_v3.protocol import AaveV3

PROTOCOL = AaveV3()
