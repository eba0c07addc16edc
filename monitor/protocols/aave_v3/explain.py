"""The verdict told as a person would recompute it: every number, its formula with the numbers in it, and its source.

Lines come in the order of the reckoning: the moment and the market's unit, then per reserve the raw words, the index,
the balance, the price and the value, then the sums, and last the health factor. Explains what `account` and
`liquidation` computed and computes nothing that decides.
"""

from __future__ import annotations

from monitor.core.types import Gate, Line, Position
from monitor.core.units import UINT256_MAX, format_ratio, format_units
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import Holding, Valued, in_category
from monitor.protocols.aave_v3.records import Category, Context, ReserveState, State
from monitor.protocols.aave_v3.verdict import Account, Undecidable, account_of, base_unit, health_of
from monitor.protocols.aave_v3.versions import Rules


def explain(position: Position, context: Context | None) -> list[Line]:
    """See Protocol.explain."""
    try:
        account = account_of(position)
    except Undecidable as why:
        return [Line("health factor", "unknown", str(why))]
    lines = [
        Line("rules", f"Aave V{account.rules.version}", "", "pool.POOL_REVISION, confirmed against borrowers"),
        Line("block timestamp", str(account.at_s), "", f"block {position.block.number} {position.block.hash}"),
        Line(
            "base unit", str(account.state.base_unit), f"1 {account.state.base_symbol}", "oracle.BASE_CURRENCY_UNIT()"
        ),
        Line(
            "user configuration",
            hex(account.state.user_configuration),
            "two bits per reserve id: 2*id borrowing, 2*id+1 used as collateral",
            f"pool.getUserConfiguration({position.owner})",
        ),
        *_category(account.rules, account.state, position),
    ]
    for value in account.data.values:
        lines += _reserve(account, value)
    lines += _sums(account)
    health = health_of(position, context, None)
    lines += [_gate(gate) for gate in health.gates]
    answer = {True: "yes", False: "no", None: "unknown"}[health.liquidatable]
    lines.append(Line("liquidatable now", answer, "health factor below 1 and, for one pair of assets, every gate open"))
    lines.append(_health_factor(account))
    return lines


def _category(rules: Rules, state: State, position: Position) -> list[Line]:
    category = state.category
    if category is None:
        return []
    lines = [Line("e-mode category", str(category.id), "", f"pool.getUserEMode({position.owner})")]
    threshold = Line("e-mode threshold", f"{category.liquidation_threshold} bps", "", _category_call(rules, category))
    if rules.reserve_e_mode:
        return [*lines, threshold]
    bitmap = f"pool.getEModeCategoryCollateralBitmap({category.id})"
    members = Line("e-mode collateral bitmap", bin(category.collateral_bitmap), "one bit per reserve id", bitmap)
    return [*lines, threshold, members]


def _category_call(rules: Rules, category: Category) -> str:
    getter = "getEModeCategoryData" if rules.reserve_e_mode else "getEModeCategoryCollateralConfig"
    return f"pool.{getter}({category.id}).liquidationThreshold"


def _line(name: str, value: int, source: str) -> Line:
    return Line(name, str(value), "", source)


def _reserve(account: Account, value: Valued) -> list[Line]:
    holding, symbol = value.holding, value.holding.reserve.symbol
    reserve = holding.reserve
    lines = [
        Line(
            f"{symbol} price",
            format_units(value.price, base_unit(account.state).decimals),
            f"{value.price} in base units",
            f"oracle.getAssetPrice({symbol if holding.price_key == reserve.asset else holding.price_key})",
        ),
    ]
    if words.is_using_as_collateral(account.state.user_configuration, reserve.id):
        lines += _collateral(account, value)
    if holding.borrowed:
        lines += _debt(account, value)
    return lines


def _elapsed(account: Account, reserve: ReserveState) -> str:
    return f"({account.at_s} - {reserve.last_update_s})"


def _data(symbol: str, field: str) -> str:
    return f"pool.getReserveData({symbol}).{field}"


def _collateral(account: Account, value: Valued) -> list[Line]:
    holding, reserve = value.holding, value.holding.reserve
    symbol = reserve.symbol
    mul = "rayMulFloor" if account.rules.directed_rounding else "rayMul"
    income = (
        f"rayMul(1e27 + {reserve.liquidity_rate} * {_elapsed(account, reserve)} / 31536000, {reserve.liquidity_index})"
    )
    lines = [
        _line(f"{symbol} liquidity index", reserve.liquidity_index, _data(symbol, "liquidityIndex")),
        _line(f"{symbol} liquidity rate", reserve.liquidity_rate, _data(symbol, "currentLiquidityRate")),
        _line(f"{symbol} last update", reserve.last_update_s, _data(symbol, "lastUpdateTimestamp")),
        Line(f"{symbol} normalized income", str(holding.normalized_income), income),
        _line(f"{symbol} scaled supply", reserve.scaled_a_token, f"aToken({symbol}).scaledBalanceOf"),
        Line(
            f"{symbol} supplied",
            _amount(holding, holding.supplied),
            f"{mul}({reserve.scaled_a_token}, {holding.normalized_income}) = {holding.supplied}",
        ),
        Line(
            f"{symbol} liquidation threshold",
            f"{holding.threshold} bps",
            *_threshold_source(account, holding),
        ),
    ]
    if not holding.enabled:
        return [
            *lines,
            Line(f"{symbol} collateral value", "0", "its own liquidation threshold is 0: it does not count"),
        ]
    formula = f"{holding.supplied} * {value.price} / {holding.unit}, down"
    return [*lines, Line(f"{symbol} collateral value", str(value.collateral_value), formula)]


def _threshold_source(account: Account, holding: Holding) -> tuple[str, str]:
    category = account.state.category
    if category is not None and in_category(account.rules, holding.reserve, category):
        return "the e-mode category's", _category_call(account.rules, category)
    return "bits 16 to 31 of the configuration", _data(holding.reserve.symbol, "configuration")


def _debt(account: Account, value: Valued) -> list[Line]:
    holding, reserve, rules = value.holding, value.holding.reserve, account.rules
    symbol = reserve.symbol
    mul = "rayMulCeil" if rules.directed_rounding else "rayMul"
    grown = f"calculateCompoundedInterest({reserve.variable_borrow_rate}, {_elapsed(account, reserve)})"
    lines = [
        _line(f"{symbol} variable borrow index", reserve.variable_borrow_index, _data(symbol, "variableBorrowIndex")),
        _line(
            f"{symbol} variable borrow rate", reserve.variable_borrow_rate, _data(symbol, "currentVariableBorrowRate")
        ),
        _line(f"{symbol} last update", reserve.last_update_s, _data(symbol, "lastUpdateTimestamp")),
        Line(
            f"{symbol} normalized debt",
            str(holding.normalized_debt),
            f"rayMul({grown}, {reserve.variable_borrow_index})",
        ),
        _line(f"{symbol} scaled debt", reserve.scaled_variable_debt, f"variableDebtToken({symbol}).scaledBalanceOf"),
        Line(
            f"{symbol} variable debt",
            _amount(holding, holding.variable_debt),
            f"{mul}({reserve.scaled_variable_debt}, {holding.normalized_debt}) = {holding.variable_debt}",
        ),
    ]
    if holding.stable_debt:
        since = f"({account.at_s} - {reserve.stable_update_s})"
        interest = f"calculateCompoundedInterest({reserve.stable_rate}, {since})"
        lines.append(
            Line(
                f"{symbol} stable debt",
                _amount(holding, holding.stable_debt),
                f"rayMul({reserve.stable_principal}, {interest}) = {holding.stable_debt}",
                f"stableDebtToken({symbol}).principalBalanceOf, getUserStableRate, getUserLastUpdated",
            )
        )
    way = "up" if rules.directed_rounding else "down"
    formula = f"{holding.debt} * {value.price} / {holding.unit}, {way}"
    return [*lines, Line(f"{symbol} debt value", str(value.debt_value), formula)]


def _amount(holding: Holding, amount: int) -> str:
    decimals = words.decimals(holding.reserve.configuration)
    return f"{format_units(amount, decimals)} {holding.reserve.symbol}"


def _sums(account: Account) -> list[Line]:
    data = account.data
    counted = [v for v in data.values if v.holding.enabled]
    owed = [v for v in data.values if v.holding.borrowed]
    weighted = " + ".join(f"{v.collateral_value} * {v.holding.threshold}" for v in counted) or "0"
    ltvs = " + ".join(f"{v.collateral_value} * {v.holding.ltv}" for v in counted) or "0"
    collateral = " + ".join(str(v.collateral_value) for v in counted) or "0"
    debt = " + ".join(str(v.debt_value) for v in owed) or "0"
    mul = "percentMulFloor" if account.rules.directed_rounding else "percentMul"
    return [
        Line("total collateral", str(data.collateral), collateral),
        Line("total debt", str(data.debt), debt),
        Line("weighted collateral", str(data.weighted), weighted),
        Line("average liquidation threshold", str(data.threshold), f"{data.weighted} / {data.collateral}, down"),
        Line("average loan to value", str(data.ltv), f"({ltvs}) / {data.collateral}, down"),
        Line(
            "available borrows",
            str(data.available_borrows),
            f"{mul}({data.collateral}, {data.ltv}) - {data.debt}, at least 0",
        ),
    ]


def _gate(gate: Gate) -> Line:
    return Line(f"gate {gate.name}", gate.state.value, gate.detail)


def _health_factor(account: Account) -> Line:
    data = account.data
    if data.health_factor == UINT256_MAX:
        return Line("health factor", "none", "there is no debt", "2**256 - 1 in the contract")
    shown = format_ratio(data.health_factor, 10**18, 18)
    if account.rules.directed_rounding:
        formula = f"wadDiv({data.weighted}, {data.debt}) / 10000 = {data.health_factor}"
    else:
        formula = f"wadDiv(percentMul({data.collateral}, {data.threshold}), {data.debt}) = {data.health_factor}"
    return Line("health factor", shown, formula, "unhealthy below 1")
