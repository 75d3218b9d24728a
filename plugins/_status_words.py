"""The words of the status page in English and Russian, and how each language writes numbers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

__all__ = ["LANGUAGES", "Words", "choose"]

LANGUAGES = ("en", "ru")

_TEXTS: dict[str, tuple[str, str]] = {
    "title": ("Embedding router", "Маршрутизатор эмбеддингов"),
    "up": ("All groups are served", "Все группы обслуживаются"),
    "degraded": ("Served, with deployments out", "Работает, часть развёртываний выведена"),
    "down": ("A group has nobody", "В группе никого нет"),
    "skip": ("Skip to content", "К содержанию"),
    "language": ("Language", "Язык"),
    "lost": (
        "No connection to the router; what is shown is old.",
        "Нет связи с маршрутизатором; данные устарели.",
    ),
    "as_of": ("as of {}", "на {}"),
    "calls_30": ("{} calls in 30 minutes", "вызовов за 30 минут: {}"),
    "workers": ("workers: {}", "рабочих процессов: {}"),
    "this_server": (
        (
            "Calls, shares, latencies and failovers are of this server; health, budgets and vector "
            "space are of all that share the ledger."
        ),
        (
            "Вызовы, доли, задержки и переключения — этого сервера; состояние, бюджеты и "
            "пространство — всех с общей бухгалтерией."
        ),
    ),
    "groups": ("Model groups", "Группы моделей"),
    "up_of": ("{} of {} up", "доступно {} из {}"),
    "region_only": ("only {}", "только {}"),
    "fallback": ("then {}", "затем {}"),
    "nobody": (
        "No deployment has its key or address set.",
        "Ни у одного развёртывания не заданы ключ или адрес.",
    ),
    "off_list": ("off: {}", "выключены: {}"),
    "deployment": ("Deployment", "Развёртывание"),
    "order": ("Order", "Порядок"),
    "weight": ("weight {}", "вес {}"),
    "health": ("Health", "Состояние"),
    "latency": ("Latency, median / 95 %", "Задержка, медиана / 95 %"),
    "success": ("Success", "Успешно"),
    "traffic": ("Share, last 30 minutes", "Доля за 30 минут"),
    "spark": (
        "Share of calls minute by minute over 30 minutes, {} in all",
        "Доля вызовов по минутам за 30 минут, всего {}",
    ),
    "no_calls": ("no calls", "нет вызовов"),
    "price": ("USD per 1M tokens", "USD за 1 млн токенов"),
    "fine": ("up", "работает"),
    "returning": ("returning", "возвращается"),
    "ejected": ("ejected", "выведено"),
    "resting": ("resting", "отдыхает"),
    "quarantined": ("quarantined", "в карантине"),
    "drained": ("drained", "выведено оператором"),
    "off": ("off", "выключено"),
    "until": ("until {}", "до {}"),
    "until_probe": ("until a probe succeeds", "до успешной проверки"),
    "since": ("since {}", "с {}"),
    "budgets": ("Budgets", "Бюджеты"),
    "budgets_old": (
        "The ledger does not answer; these are the last known figures.",
        "Журнал не отвечает; показаны последние известные значения.",
    ),
    "no_budgets": ("No budget is set.", "Бюджеты не заданы."),
    "spent_of": ("{} of {} spent", "потрачено {} из {}"),
    "spent": ("{} spent, no limit", "потрачено {}, без лимита"),
    "held": ("{} held", "удержано {}"),
    "empty_at": ("empty by {} at this rate", "при таком расходе закончится {}"),
    "empty_long": ("lasts over a year at this rate", "при таком расходе хватит больше чем на год"),
    "at_end": ("{} by the end of the period at this rate", "при таком расходе к концу периода {}"),
    "no_rate": ("nothing spent lately", "расхода в последнее время нет"),
    "used_up": ("used up", "исчерпан"),
    "resets": ("resets {}", "обновится {}"),
    "lifetime": ("lifetime", "бессрочный"),
    "month": ("per month", "в месяц"),
    "day": ("per day", "в день"),
    "hour": ("per hour", "в час"),
    "minute": ("per minute", "в минуту"),
    "tokens": ("tokens", "токенов"),
    "requests": ("requests", "запросов"),
    "failovers": ("Last failovers", "Последние переключения"),
    "no_failovers": (
        "None in the memory of this server.",
        "На памяти этого сервера не было.",
    ),
    "time": ("Time", "Время"),
    "group": ("Group", "Группа"),
    "failed": ("Failed", "Отказали"),
    "answered": ("Answered", "Ответило"),
    "nobody_answered": ("nobody, {}", "никто, {}"),
    "parity": ("Vector space", "Векторное пространство"),
    "no_parity": ("Nothing was compared yet.", "Сравнения ещё не было."),
    "verdict": ("Verdict", "Вывод"),
    "cosine": ("Least cosine", "Наименьший косинус"),
    "asked": ("Asked", "Проверено"),
    "same": ("same space", "то же пространство"),
    "other": ("differs", "отличается"),
    "unknown": ("no verdict", "нет вывода"),
    "prices": ("Prices", "Цены"),
    "provider": ("Provider", "Провайдер"),
    "as_of_date": ("As of", "По состоянию на"),
    "no_date": ("no date", "без даты"),
    "set_here": ("set in the config", "задана в конфигурации"),
    "old": ("check it", "проверьте"),
    "card": ("Model card, 2026-02-20", "Карточка модели, 2026-02-20"),
    "own": ("own server", "свой сервер"),
    "config": ("Configuration", "Конфигурация"),
    "loaded": ("in force since {}", "действует с {}"),
    "not_taken": (
        "The file has changed and is not in force:",
        "Файл изменён, но не вступил в силу:",
    ),
    "auth": ("the key is refused", "ключ отклонён"),
    "payment": ("out of credit", "нет средств"),
    "model": ("the model is unknown there", "модель там неизвестна"),
    "dialect": ("a field is refused", "поле отклонено"),
    "rate": ("rate limit", "лимит запросов"),
    "overload": ("overloaded", "перегрузка"),
    "server": ("server error", "ошибка сервера"),
    "timeout": ("timeout", "тайм-аут"),
    "connect": ("no connection", "нет соединения"),
    "reset": ("connection broke", "обрыв соединения"),
    "corrupt": ("bad vectors", "негодные векторы"),
    "cancelled": ("cancelled", "отменено"),
    "too_long": ("too long for it", "слишком длинно для него"),
}


class Words:
    """The texts in one language, and its way to write numbers and times (UTC)."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._at = LANGUAGES.index(language)

    def __call__(self, name: str, *values: object) -> str:
        """Return the text *name* with *values* in its gaps."""
        return _TEXTS[name][self._at].format(*values)

    def reason(self, text: str) -> str:
        """Return a class of failure in words; any other text as it is."""
        return self(text) if text in _TEXTS else text

    def number(self, value: float | Decimal, digits: int = 0) -> str:
        """Return *value* with at most *digits* digits after the point."""
        text = f"{value:,.{digits}f}"
        if digits:
            text = text.rstrip("0").rstrip(".")
        if self.language == "ru":
            return text.replace(",", "\u00a0").replace(".", ",")
        return text

    def percent(self, part: float) -> str:
        """Return a part of 1, in percent."""
        shown = 100 * part
        digits = 1 if 0 < shown < 1 or 99 < shown < 100 else 0
        return self.number(shown, digits) + ("\u00a0%" if self.language == "ru" else "%")

    def amount(self, value: int, unit: str) -> str:
        """Return an amount of a budget with its unit."""
        if unit != "nano_usd":
            return f"{self.number(value)}\u00a0{self(unit)}"
        usd = Decimal(value).scaleb(-9)
        if usd == 0 or usd >= Decimal("0.01"):
            text = f"{usd:,.2f}"
        else:
            text = f"{usd:.6f}".rstrip("0").rstrip(".") or "0"
        if self.language == "ru":
            return text.replace(",", "\u00a0").replace(".", ",") + "\u00a0$"
        return f"${text}"

    def ms(self, value: float | None) -> str:
        """Return milliseconds, or seconds where there are many."""
        if value is None:
            return "–"
        unit = ("ms", "мс")[self._at] if value < 1000 else ("s", "с")[self._at]
        text = self.number(value) if value < 1000 else self.number(value / 1000, 1)
        return f"{text}\u00a0{unit}"

    def moment(self, at: float, now: float) -> str:
        """Return a time of today as hours, else with its date."""
        when, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
        form = "%H:%M:%S" if when.date() == today.date() else "%Y-%m-%d %H:%M"
        return f"{when:{form}} UTC"

    def day(self, at: float) -> str:
        """Return the date of a time."""
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def choose(query: str, accept: str) -> Words:
    """Return the words that `?lang=` asks for, else those that the browser prefers."""
    asked = re.search(r"(?:^|&)lang=(en|ru)(?:&|$)", query)
    if asked:
        return Words(asked[1])
    best, language = 0.0, "en"
    for part in accept[:1000].split(","):
        tag, _, weight = part.strip().partition(";")
        name = tag.strip().lower().partition("-")[0]
        if name not in LANGUAGES:
            continue
        found = re.fullmatch(r"\s*q=(\d(?:\.\d{0,3})?)\s*", weight) if weight else None
        quality = float(found[1]) if found else 0.0 if weight else 1.0
        if quality > best:
            best, language = quality, name
    return Words(language)
