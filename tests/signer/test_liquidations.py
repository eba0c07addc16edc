"""Liquidating strangers is signed only where the signer's own file says so, and within limits of its own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode

from monitor.core.actions import Intent, SignRequest
from monitor.signer import config as configuration
from monitor.signer.defences import ALL
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import judge
from monitor.signer.templates import export, load_file
from tests.signer.room import (
    CHAIN,
    CONFIG,
    ONE_DAY_S,
    OTHER_POOL,
    OWNER,
    PER_DAY,
    POOL,
    SHADY,
    STRANGER,
    TEMPLATES,
    USDC,
    WETH,
    intent,
    open_room,
    repay,
    request,
)

PER_LIQUIDATION, LIQUIDATIONS_PER_DAY = 700, 1_500
OPTED_IN = (
    CONFIG.replace("[chains.local]", "[chains.local]\nliquidate = true")
    .replace('kinds = ["aave-v3/repay", "aave-v3/supply"]', 'kinds = ["aave-v3/liquidate", "aave-v3/repay"]')
    .replace(
        f'address = "{USDC}"',
        f'address = "{USDC}"\nliquidate_per_action = {PER_LIQUIDATION}\nliquidate_per_day = {LIQUIDATIONS_PER_DAY}',
    )
)
RULES = configuration.parse(OPTED_IN)
WITHOUT = configuration.parse(OPTED_IN.replace("liquidate = true", "liquidate = false"))


def liquidate(
    amount: int = 500, collateral: str = WETH, debt: str = USDC, owner: str = STRANGER, **changes: Any
) -> Intent:
    args: dict[str, int | str] = {"collateralAsset": collateral, "debtAsset": debt, "debtToCover": amount}
    plain: dict[str, Any] = {"owner": owner, "position_id": f"eip155:{CHAIN}/aave-v3/{POOL}/{owner}", "args": args}
    return intent(changes.pop("kind", "aave-v3/liquidate"), **(plain | changes))


def test_a_stranger_is_liquidated_where_that_is_allowed() -> None:
    draft = judge(request(0, liquidate(PER_LIQUIDATION)), RULES, TEMPLATES)
    values = decode(("address", "address", "address", "uint256", "bool"), draft.transaction.data[4:])
    assert values == (WETH.lower(), USDC.lower(), STRANGER.lower(), PER_LIQUIDATION, False)
    assert (draft.asset, draft.amount_per_day) == (f"liquidate:{USDC}", LIQUIDATIONS_PER_DAY)
    judge(request(0, liquidate(owner=OWNER)), RULES, TEMPLATES)


REFUSED: list[tuple[str, SignRequest, Refusal, str]] = [
    ("one more than a liquidation may", request(0, liquidate(701)), Refusal.LIMIT_ACTION, "limit_action"),
    ("an asset that has no limits for it", request(0, liquidate(1, debt=WETH)), Refusal.LIMIT_ACTION, "limit_action"),
    ("paying an asset that is not listed", request(0, liquidate(debt=SHADY)), Refusal.ASSET, "assets"),
    ("taking an asset that is not listed", request(0, liquidate(collateral=SHADY)), Refusal.ASSET, "assets"),
    ("a pool that is not for it", request(0, liquidate(to=OTHER_POOL)), Refusal.KIND, "kinds"),
    ("another contract", request(0, liquidate(to=STRANGER)), Refusal.TARGET, "targets"),
    (
        "a position of somebody else",
        request(0, liquidate(position_id=f"eip155:{CHAIN}/x/{OWNER}")),
        Refusal.OWNER,
        "owners",
    ),
    (
        "taking the aToken",
        request(0, liquidate(args={**liquidate().args, "receiveAToken": 1})),
        Refusal.ARGUMENTS,
        "",
    ),
    (
        "somebody else as the borrower",
        request(0, liquidate(args={**liquidate().args, "user": OWNER})),
        Refusal.ARGUMENTS,
        "",
    ),
]


@pytest.mark.parametrize(("asked", "code", "defence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_is_refused(asked: SignRequest, code: Refusal, defence: str) -> None:
    with pytest.raises(Denied) as no:
        judge(asked, RULES, TEMPLATES)
    assert no.value.code is code
    if defence:
        judge(asked, RULES, TEMPLATES, ALL.without(defence))


def test_it_is_off_unless_the_file_says_otherwise() -> None:
    assert configuration.parse(CONFIG).chains["local"].liquidate is False
    for owner in (OWNER, STRANGER):
        with pytest.raises(Denied, match="needs liquidate = true") as no:
            judge(request(0, liquidate(owner=owner)), WITHOUT, TEMPLATES)
        assert no.value.code is Refusal.KIND
    judge(request(0, liquidate()), WITHOUT, TEMPLATES, ALL.without("opt_in"))


def test_rescues_of_strangers_stay_forbidden() -> None:
    stranger = {"owner": STRANGER, "position_id": f"eip155:{CHAIN}/aave-v3/{POOL}/{STRANGER}"}
    with pytest.raises(Denied) as no:
        judge(request(0, intent(**stranger)), RULES, TEMPLATES)
    assert no.value.code is Refusal.OWNER


def test_exported_it_loses_the_way_around_the_owners() -> None:
    """A file from elsewhere can never say whose positions are open to it."""
    content = export(replace(TEMPLATES["aave-v3/liquidate"].template, kind="foreign/liquidate"))
    bound = load_file(content, hashlib.sha256(content).hexdigest())
    rules = configuration.parse(OPTED_IN.replace("aave-v3/liquidate", "foreign/liquidate"))
    with pytest.raises(Denied) as no:
        judge(request(0, liquidate(kind="foreign/liquidate")), rules, {"foreign/liquidate": bound})
    assert no.value.code is Refusal.OWNER


async def test_its_day_is_its_own(tmp_path: Path) -> None:
    """What a keeper spends is never missing for a rescue, and the other way round."""
    with open_room(tmp_path, text=OPTED_IN) as room:
        for nonce in range(2):
            await room.sign(request(nonce, liquidate(700)))
        assert await room.refusal(request(2, liquidate(101))) is Refusal.LIMIT_DAY
        for nonce in range(2, 7):
            await room.sign(request(nonce, repay(PER_DAY // 5)))
        assert await room.refusal(request(7, repay(1))) is Refusal.LIMIT_DAY
        await room.sign(request(7, liquidate(100)))
        room.clock.now += ONE_DAY_S + 1
        await room.sign(request(8, liquidate(700)))
