#!/usr/bin/env python3
"""Writes the synthetic corpus that records-1.zdict was trained on.

Usage: make_corpus.py DIRECTORY

Every sentence below was made up for this purpose; no message of a person went into it. The output is
the same on every run: the generator has a fixed seed and uses integer arithmetic only.
"""
import os
import random
import struct
import sys

# Per language: greetings, openings, topics, details, closings. A message joins one of each, some left out.
TEXT = {
    "en": (
        ["Hello,", "Good morning,", "Hi there,", "Good afternoon,", "Dear team,", "Hi,"],
        ["I would like to ask about", "Could you please tell me more about", "I have a question about",
         "I am still waiting for an answer about", "Who is responsible for", "There is a problem with"],
        ["the opening hours of the citizens' office", "my application for a new passport",
         "the renewal of my identity card", "the registration of my new address", "my parking permit",
         "the waste collection calendar", "the broken street light in our street", "a place in the nursery",
         "my appointment next week", "the payment of the invoice", "the housing benefit form",
         "the road works near the school", "the birth certificate of my daughter", "the library card",
         "the noise at night behind the station", "the new bus timetable"],
        ["I tried to call several times but nobody answered.", "The form on your website does not work.",
         "I received a letter yesterday and do not understand it.", "Which documents do I need to bring?",
         "Can I book an appointment online?", "How long does it take and how much does it cost?",
         "It has not been collected for two weeks.", "I sent the documents by e-mail on Monday.",
         "Please let me know if you need anything else from me.", "Is it possible to change the date?"],
        ["Thank you very much for your help!", "Thanks in advance.", "Kind regards", "Best regards,",
         "I look forward to hearing from you.", "Have a nice day!"],
    ),
    "de": (
        ["Guten Tag,", "Guten Morgen,", "Hallo,", "Sehr geehrte Damen und Herren,", "Hallo zusammen,",
         "Grüß Gott,"],
        ["ich habe eine Frage zu", "könnten Sie mir bitte sagen, was mit", "ich warte noch auf eine Antwort zu",
         "wer ist zuständig für", "es gibt ein Problem mit", "ich möchte mich erkundigen nach"],
        ["den Öffnungszeiten des Bürgeramts", "meinem Antrag auf einen neuen Reisepass",
         "der Verlängerung meines Personalausweises", "der Anmeldung meiner neuen Wohnung",
         "dem Bewohnerparkausweis", "der Müllabfuhr in unserer Straße", "der kaputten Straßenlaterne",
         "dem Kindergartenplatz für unsere Tochter", "meinem Termin in der nächsten Woche",
         "der Bezahlung des Bescheids", "dem Formular für das Wohngeld", "der Baustelle vor der Schule",
         "der Geburtsurkunde meines Sohnes", "der Steuererklärung", "dem Lärm in der Nacht",
         "dem neuen Fahrplan der Buslinie"],
        ["Ich habe mehrmals angerufen, aber niemanden erreicht.", "Das Formular auf Ihrer Seite geht leider nicht.",
         "Gestern habe ich einen Brief bekommen und verstehe ihn nicht.", "Welche Unterlagen muss ich mitbringen?",
         "Kann ich den Termin auch online buchen?", "Wie lange dauert das und was kostet es?",
         "Seit zwei Wochen wurde nichts abgeholt.", "Die Unterlagen habe ich am Montag per E-Mail geschickt.",
         "Bitte sagen Sie mir, ob Sie noch etwas von mir brauchen.", "Ist es möglich, das Datum zu ändern?"],
        ["Vielen Dank für Ihre Hilfe!", "Danke im Voraus.", "Mit freundlichen Grüßen", "Viele Grüße",
         "Ich freue mich auf Ihre Antwort.", "Einen schönen Tag noch!"],
    ),
    "fr": (
        ["Bonjour,", "Bonsoir,", "Madame, Monsieur,", "Bonjour à toute l'équipe,", "Salut,"],
        ["j'ai une question concernant", "pourriez-vous me renseigner sur", "j'attends toujours une réponse pour",
         "qui est responsable de", "il y a un problème avec", "je voudrais savoir où en est"],
        ["les horaires d'ouverture de la mairie", "ma demande de passeport", "le renouvellement de ma carte d'identité",
         "mon changement d'adresse", "ma carte de stationnement", "la collecte des ordures ménagères",
         "le lampadaire en panne dans notre rue", "une place en crèche", "mon rendez-vous de la semaine prochaine",
         "le paiement de la facture", "le formulaire d'aide au logement", "les travaux devant l'école",
         "l'acte de naissance de ma fille", "la carte de la bibliothèque", "le bruit pendant la nuit",
         "les nouveaux horaires du bus"],
        ["J'ai appelé plusieurs fois mais personne n'a répondu.", "Le formulaire sur votre site ne fonctionne pas.",
         "J'ai reçu un courrier hier et je ne le comprends pas.", "Quels documents dois-je apporter ?",
         "Est-il possible de prendre rendez-vous en ligne ?", "Combien de temps cela prend-il et combien cela coûte ?",
         "Rien n'a été ramassé depuis deux semaines.", "J'ai envoyé les documents par courriel lundi.",
         "Merci de me dire s'il vous manque quelque chose.", "Peut-on changer la date ?"],
        ["Merci beaucoup pour votre aide !", "Merci d'avance.", "Cordialement,", "Bien à vous,",
         "Dans l'attente de votre réponse.", "Bonne journée !"],
    ),
    "es": (
        ["Hola,", "Buenos días,", "Buenas tardes,", "Estimado equipo,", "Buenas,"],
        ["quería preguntar por", "me pueden informar sobre", "sigo esperando una respuesta sobre",
         "quién se encarga de", "hay un problema con", "tengo una duda sobre"],
        ["el horario de la oficina de atención", "mi solicitud de pasaporte", "la renovación del documento de identidad",
         "el empadronamiento", "la tarjeta de aparcamiento", "la recogida de basura", "la farola rota de nuestra calle",
         "la plaza de guardería", "mi cita de la próxima semana", "el pago de la factura", "la ayuda al alquiler",
         "las obras delante del colegio", "el certificado de nacimiento", "el carné de la biblioteca",
         "el ruido por la noche", "el nuevo horario del autobús"],
        ["He llamado varias veces pero nadie contesta.", "El formulario de la web no funciona.",
         "Ayer recibí una carta y no la entiendo.", "¿Qué documentos tengo que llevar?",
         "¿Puedo pedir cita por internet?", "¿Cuánto tarda y cuánto cuesta?", "Hace dos semanas que no pasan.",
         "Envié los documentos por correo el lunes.", "Díganme si necesitan algo más.", "¿Se puede cambiar la fecha?"],
        ["¡Muchas gracias por su ayuda!", "Gracias de antemano.", "Un saludo,", "Saludos cordiales",
         "Quedo a la espera de su respuesta.", "¡Que tengan un buen día!"],
    ),
    "it": (
        ["Buongiorno,", "Buonasera,", "Salve,", "Gentile ufficio,", "Ciao,"],
        ["vorrei chiedere informazioni su", "potreste dirmi qualcosa su", "aspetto ancora una risposta per",
         "chi si occupa di", "c'è un problema con", "ho una domanda su"],
        ["gli orari dello sportello", "la mia richiesta di passaporto", "il rinnovo della carta d'identità",
         "il cambio di residenza", "il permesso di parcheggio", "la raccolta dei rifiuti",
         "il lampione rotto nella nostra via", "un posto all'asilo nido", "il mio appuntamento della prossima settimana",
         "il pagamento della fattura", "il modulo per il contributo affitto", "i lavori davanti alla scuola"],
        ["Ho chiamato più volte ma nessuno ha risposto.", "Il modulo sul sito non funziona.",
         "Ieri ho ricevuto una lettera e non la capisco.", "Quali documenti devo portare?",
         "Posso prenotare online?", "Quanto tempo ci vuole e quanto costa?", "Da due settimane non passa nessuno."],
        ["Grazie mille per l'aiuto!", "Grazie in anticipo.", "Cordiali saluti", "Buona giornata!"],
    ),
    "nl": (
        ["Goedemorgen,", "Goedemiddag,", "Hallo,", "Beste medewerker,", "Dag,"],
        ["ik heb een vraag over", "kunt u mij iets vertellen over", "ik wacht nog op antwoord over",
         "wie is verantwoordelijk voor", "er is een probleem met"],
        ["de openingstijden van het gemeentehuis", "mijn aanvraag voor een paspoort", "de verlenging van mijn identiteitskaart",
         "mijn verhuizing", "de parkeervergunning", "het ophalen van het afval", "de kapotte lantaarnpaal in onze straat",
         "een plek op de kinderopvang", "mijn afspraak van volgende week", "de betaling van de factuur"],
        ["Ik heb meerdere keren gebeld maar kreeg niemand te pakken.", "Het formulier op de website werkt niet.",
         "Welke documenten moet ik meenemen?", "Kan ik online een afspraak maken?", "Hoe lang duurt het en wat kost het?"],
        ["Hartelijk dank voor uw hulp!", "Alvast bedankt.", "Met vriendelijke groet,", "Fijne dag verder!"],
    ),
    "pl": (
        ["Dzień dobry,", "Witam,", "Szanowni Państwo,", "Cześć,"],
        ["mam pytanie dotyczące", "czy mogą mi Państwo powiedzieć coś o", "nadal czekam na odpowiedź w sprawie",
         "kto odpowiada za", "jest problem z"],
        ["godzin otwarcia urzędu", "mojego wniosku o paszport", "wymiany dowodu osobistego", "zameldowania",
         "karty parkingowej", "odbioru śmieci", "zepsutej latarni na naszej ulicy", "miejsca w przedszkolu",
         "wizyty w przyszłym tygodniu", "opłaty za rachunek"],
        ["Dzwoniłem kilka razy, ale nikt nie odbiera.", "Formularz na stronie nie działa.",
         "Jakie dokumenty muszę przynieść?", "Czy mogę umówić się przez internet?", "Ile to trwa i ile kosztuje?"],
        ["Dziękuję bardzo za pomoc!", "Z góry dziękuję.", "Z poważaniem", "Miłego dnia!"],
    ),
    "pt": (
        ["Olá,", "Bom dia,", "Boa tarde,", "Exmos. Senhores,"],
        ["gostaria de saber mais sobre", "tenho uma dúvida sobre", "continuo à espera de resposta sobre",
         "quem é responsável por", "há um problema com"],
        ["o horário de atendimento", "o meu pedido de passaporte", "a renovação do cartão de cidadão",
         "a mudança de morada", "o cartão de estacionamento", "a recolha do lixo", "o candeeiro avariado na nossa rua",
         "uma vaga na creche", "a minha marcação da próxima semana", "o pagamento da fatura"],
        ["Já liguei várias vezes mas ninguém atende.", "O formulário do site não funciona.",
         "Que documentos preciso de levar?", "Posso marcar pela internet?", "Quanto tempo demora e quanto custa?"],
        ["Muito obrigado pela ajuda!", "Obrigada desde já.", "Com os melhores cumprimentos,", "Bom dia!"],
    ),
    "tr": (
        ["Merhaba,", "Günaydın,", "İyi günler,", "Sayın yetkili,"],
        ["bir sorum var:", "bilgi almak istiyorum:", "hâlâ cevap bekliyorum:", "bir sorun var:"],
        ["belediyenin çalışma saatleri", "pasaport başvurum", "kimlik kartımın yenilenmesi", "adres değişikliği",
         "park izni", "çöp toplama", "sokağımızdaki bozuk lamba", "kreş yeri", "gelecek haftaki randevum"],
        ["Birkaç kez aradım ama kimse açmadı.", "Sitedeki form çalışmıyor.", "Hangi belgeleri getirmem gerekiyor?",
         "İnternetten randevu alabilir miyim?", "Ne kadar sürer ve ücreti ne kadar?"],
        ["Yardımınız için çok teşekkür ederim!", "Şimdiden teşekkürler.", "Saygılarımla", "İyi çalışmalar!"],
    ),
    "uk": (
        ["Добрий день,", "Доброго ранку,", "Вітаю,", "Шановні,"],
        ["маю питання щодо", "підкажіть, будь ласка, щодо", "досі чекаю на відповідь щодо", "є проблема щодо"],
        ["годин роботи установи", "моєї заяви на паспорт", "реєстрації за новою адресою", "дозволу на паркування",
         "вивезення сміття", "зламаного ліхтаря на нашій вулиці", "місця в дитячому садку", "запису на наступний тиждень"],
        ["Я телефонував кілька разів, але ніхто не відповідає.", "Форма на сайті не працює.",
         "Які документи потрібно принести?", "Чи можна записатися онлайн?", "Скільки це триває і скільки коштує?"],
        ["Дуже дякую за допомогу!", "Дякую заздалегідь.", "З повагою", "Гарного дня!"],
    ),
    "ar": (
        ["السلام عليكم،", "مرحبا،", "صباح الخير،"],
        ["لدي سؤال حول", "هل يمكنكم إخباري عن", "ما زلت أنتظر الرد بخصوص"],
        ["مواعيد عمل المكتب", "طلب جواز السفر", "تجديد بطاقة الهوية", "تغيير العنوان", "موعدي الأسبوع القادم"],
        ["ما هي الوثائق المطلوبة؟", "هل يمكن الحجز عبر الإنترنت؟", "كم يستغرق ذلك وكم يكلف؟"],
        ["شكرا جزيلا لمساعدتكم", "مع أطيب التحيات", "شكرا مقدما"],
    ),
}
ANSWERS = [
    "Hello and thank you for your message. ", "Thank you for getting in touch with us. ",
    "Please call us at the number on your letter, or come to the citizens' office. ",
    "You can book an appointment online at https://www.example.org/appointments. ",
    "Please do not send personal documents here. ", "We have passed your question to the team in charge. ",
    "The office is open Monday to Friday from 8:00 to 12:00. ",
    "Guten Tag, vielen Dank für Ihre Nachricht. ", "Bitte rufen Sie uns an oder kommen Sie ins Bürgeramt. ",
    "Einen Termin können Sie unter https://www.example.org/termine buchen. ",
    "Ihre Frage haben wir an das zuständige Team weitergegeben. ", "Mit freundlichen Grüßen Ihr Team ",
    "Bonjour et merci pour votre message. ", "Vous pouvez prendre rendez-vous en ligne. ",
    "Hola, gracias por su mensaje. ", "Puede pedir cita en línea. ",
    "If you have any further questions, please let us know. ",
]
SHORT = ["Thanks!", "Thank you", "ok", "OK 👍", "Danke!", "Vielen Dank!", "Merci !", "Gracias", "Grazie", "👍", "🙏",
         "Yes", "No", "Ja", "Nein", "Oui", "Hello?", "Hallo?", "???", "Any news?", "Gibt es etwas Neues?"]
WORDS = ["anna", "max", "city", "river", "maria", "stadt", "jan", "lee", "luca", "garden", "kim", "sol", "north",
         "blue", "nova", "emil", "ines", "tom", "office", "press", "info", "news", "park", "bridge"]
HOSTS = ["bsky.social", "mastodon.social", "example.org", "example.net", "example.com", "social.example.org"]
LOWER = "abcdefghijklmnopqrstuvwxyz"
BASE32 = "234567abcdefghijklmnopqrstuvwxyz"
ACTIONS = ["inbox.look", "conversation.look", "conversation.change", "reply.queue", "reply.sent", "reply.failed",
           "reply.unknown", "account.connect", "account.change", "account.disconnect", "token.create",
           "token.revoke", "date.purged"]
OUTCOMES = ["ok", "ok", "ok", "platform-unavailable", "rate-limited", "credential-dead", "outcome-unknown",
            "reply-window-closed"]
MS = 1767225600000  # 2026-01-01T00:00:00Z


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, items):
        return items[self.r.randrange(len(items))]

    def text(self):
        if self.r.randrange(12) == 0:
            return self.pick(SHORT)
        greetings, openings, topics, details, closings = TEXT[self.pick(sorted(TEXT))]
        parts = []
        if self.r.randrange(4):
            parts.append(self.pick(greetings))
        parts.append(self.pick(openings) + " " + self.pick(topics) + self.pick([".", "?", "!", "."]))
        for _ in range(self.r.randrange(3)):
            parts.append(self.pick(details))
        if self.r.randrange(3) == 0:
            parts.append(self.pick(["Ref. ", "Nr. ", "No. "]) + str(self.r.randrange(10000, 9999999)))
        if self.r.randrange(2):
            parts.append(self.pick(closings))
        return self.pick([" ", " ", "\n", "\n\n"]).join(parts)

    def answer(self):
        return "".join(self.pick(ANSWERS) for _ in range(1 + self.r.randrange(3))).strip()

    def of(self, letters, count):
        return "".join(self.pick(letters) for _ in range(count))

    def person(self):
        return self.pick(["did:plc:" + self.of(BASE32, 24), "did:web:" + self.pick(WORDS) + ".example.org",
                          str(self.r.randrange(10**8, 10**18))])

    def handle(self):
        name = self.pick(WORDS) + self.pick(["", "-", ".", "_"]) + self.pick(WORDS) + self.pick(["", "", str(self.r.randrange(99))])
        return name + "." + self.pick(HOSTS) if self.r.randrange(2) else "@" + name + "@" + self.pick(HOSTS)

    def name(self):
        return self.pick(WORDS).capitalize() + " " + self.pick(WORDS).capitalize()

    def bytes(self, count):
        return bytes(self.r.randrange(256) for _ in range(count))

    def field(self, text):
        raw = text.encode()
        return struct.pack(">I", len(raw)) + raw

    def time(self):
        return struct.pack(">Q", MS + self.r.randrange(10**10))

    def message(self):
        text = self.answer() if self.r.randrange(5) == 0 else self.text()
        return (b"\x01" + self.bytes(16) + struct.pack(">I", 1 + self.r.randrange(6)) + bytes([1 + self.r.randrange(2)])
                + self.time() + self.time() + self.time() + struct.pack(">Q", self.r.randrange(10**6))
                + self.field(self.of(BASE32, 13)) + self.field(self.person()) + self.field(self.handle())
                + self.field(self.name()) + self.field(text) + b"\0\0\0\0")

    def head(self):
        people = b"".join(self.field(self.person()) + self.field(self.handle()) + self.field(self.name())
                          for _ in range(1 + self.r.randrange(2)))
        return (b"\x01" + self.bytes(16) + struct.pack(">I", 1 + self.r.randrange(6)) + self.field(self.of(BASE32, 13))
                + b"\x01\x01\0\x01" + struct.pack(">I", 1) + people + self.time() + b"\x01" + self.time()
                + struct.pack(">Q", 1 + self.r.randrange(40)))

    def audit(self):
        thing = self.pick(["cnv_" + self.bytes(16).hex(), "rpl_2026%02d%02d_" % (1 + self.r.randrange(12), 1 + self.r.randrange(28))
                           + self.bytes(16).hex(), "acc_%d" % (1 + self.r.randrange(9)), "2026-%02d-%02d" % (1 + self.r.randrange(12), 1 + self.r.randrange(28))])
        return (b"\x01" + struct.pack(">Q", self.r.randrange(10**5)) + self.time() + self.field("tok_%d" % self.r.randrange(20))
                + self.field(self.bytes(8).hex()) + self.field(self.pick(ACTIONS)) + self.field(thing)
                + self.field(self.pick(OUTCOMES)))

    def sample(self):
        kind = self.r.randrange(20)
        if kind < 9:
            return self.message()
        if kind < 14:
            return (self.answer() if self.r.randrange(5) == 0 else self.text()).encode()
        return self.head() if kind < 18 else self.audit()


def main():
    directory = sys.argv[1]
    os.makedirs(directory, exist_ok=True)
    maker = Maker(20260105)
    for number in range(12000):
        with open(os.path.join(directory, "%05d" % number), "wb") as out:
            out.write(maker.sample())


if __name__ == "__main__":
    main()
