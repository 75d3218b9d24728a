"""A search from end to end: texts into a real vector store, questions in Russian out of it."""

from __future__ import annotations

from dataclasses import dataclass

import openai
from qdrant_client import QdrantClient, models

__all__ = ["PASSAGES", "QUESTIONS", "Search"]

PASSAGES = {
    "refund": "Возврат билета на поезд: подайте заявление в кассе или в личном кабинете не позднее "
    "чем за восемь часов до отправления, и стоимость вернут на карту за вычетом сбора.",
    "pets": "Провоз кошек и собак: мелких животных можно везти в переноске, за место берётся "
    "отдельная плата, крупные собаки едут в купе целиком в наморднике и на поводке.",
    "luggage": "Ручная кладь: бесплатно можно взять багаж до тридцати шести килограммов, а лыжи и "
    "велосипед перевозят в чехле.",
    "borscht": "Рецепт борща: натрите свёклу, обжарьте её с морковью и луком, добавьте в бульон "
    "вместе с капустой и подавайте со сметаной.",
    "pancakes": "Блины на молоке: смешайте муку, яйца, молоко и щепотку соли и жарьте на горячей "
    "сковороде с двух сторон.",
    "password": "Если вы забыли пароль от почты, нажмите ссылку под полем входа, и письмо с "
    "инструкцией придёт на запасной адрес.",
    "router": "Чтобы настроить домашний роутер, откройте в браузере его адрес, войдите под "
    "администратором и задайте имя и пароль беспроводной сети.",
    "vaccination": "Прививка от гриппа: приходите в поликлинику с паспортом и полисом, перед "
    "уколом врач измерит температуру.",
    "passport": "Загранпаспорт оформляют за месяц: нужны анкета, фотография и оплаченная пошлина.",
    "fern": "Комнатный папоротник любит тень и влагу: опрыскивайте листья и не ставьте горшок на "
    "солнечное окно.",
    "bicycle": "Цепь велосипеда чистят щёткой с растворителем, насухо вытирают и смазывают маслом "
    "каждые двести километров.",
    "museum": "Музей открыт каждый день, кроме понедельника, а в последнее воскресенье месяца вход "
    "бесплатный.",
}
QUESTIONS = {
    "Как вернуть деньги за билет на поезд?": "refund",
    "Можно ли взять в поезд кошку?": "pets",
    "Как сварить борщ?": "borscht",
    "Что делать, если забыл пароль от почты?": "password",
    "Как настроить вайфай дома?": "router",
    "Какие документы нужны для загранпаспорта?": "passport",
    "Чем смазать цепь велосипеда?": "bicycle",
    "В какой день в музей пускают бесплатно?": "museum",
}


@dataclass
class Search:
    """An index in Qdrant, in this process, filled and asked through the proxy."""

    client: openai.OpenAI
    model: str
    dimensions: int
    store: QdrantClient

    def fill(self) -> None:
        """Embed all passages in one request and store them."""
        reply = self.client.embeddings.create(
            model=self.model, input=list(PASSAGES.values()), dimensions=self.dimensions
        )
        size = models.VectorParams(size=self.dimensions, distance=models.Distance.COSINE)
        self.store.create_collection("passages", vectors_config=size)
        points = [
            models.PointStruct(id=item.index, vector=item.embedding, payload={"name": name})
            for item, name in zip(reply.data, PASSAGES, strict=True)
        ]
        self.store.upsert("passages", points)

    def ask(self, question: str, limit: int = 3) -> list[str]:
        """Return the names of the best passages, best first."""
        reply = self.client.embeddings.create(
            model=f"{self.model}:query", input=question, dimensions=self.dimensions
        )
        found = self.store.query_points(
            "passages", query=reply.data[0].embedding, limit=limit
        ).points
        return [str((point.payload or {})["name"]) for point in found]
