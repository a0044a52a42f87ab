"""How people ask about a package, and what the model answers. {n} is the package's name."""

import random

WHAT = """What is {n}?
what is {n}?
what is {n}
What's {n}?
whats {n}
What does {n} do?
what does {n} do?
what does {n} do
What does the package {n} do?
What does the Debian package {n} contain?
What is the Debian package {n}?
what's the debian package {n}?
What is the {n} package?
what is the {n} package
What is the {n} package for?
what is {n} for?
What is {n} used for?
what is {n} used for
What is package {n} good for?
Tell me about {n}.
tell me about {n}
Tell me what {n} is.
Can you tell me what {n} is?
Could you tell me what the package {n} does?
Do you know {n}?
Do you know the package {n}?
Do you know what {n} is?
Please explain {n}.
Explain the package {n}
Explain {n} to me
explain {n}
Describe {n}.
describe the package {n}
Describe the Debian package {n} briefly.
Give me the synopsis of {n}.
synopsis of {n}
What is the synopsis of the package {n}?
Synopsis for {n}, please.
Give me a short description of {n}.
short description of {n}?
Summarize {n}.
Summarise the package {n} in one line.
In one line, what is {n}?
I want to know what {n} is.
I wonder what {n} does.
I found {n} on my machine. What is it?
I saw a package called {n}, what is it?
There is a package named {n} on my system. What does it do?
apt wants to install {n}. What is that?
apt suggests {n}, what is it for?
Why would I install {n}?
why would I want {n}?
Should I know the package {n}?
Is {n} a package? What is it?
{n}?
{n}
{n}: what is it?
{n} - what does it do?
Package {n}?
package {n}
info {n}
Info about {n}, please.
apt show {n}
dpkg -s {n}
What do you know about {n}?
what do you know about the package {n}
Hi, what is {n}?
Hello! What does {n} do?
Hey, can you explain {n}?
Quick question: what is {n}?
Sorry to bother you, but what is {n}?
What kind of package is {n}?
What kind of software is {n}?
What sort of thing is {n}?
Which software is in the package {n}?
What will I get if I install {n}?
What happens to be in {n}?
What does "{n}" do?
What is "{n}"?
What is `{n}`?
what's `{n}` for
What is '{n}' in Debian?
What is {n} in Debian?
what is {n} on debian?
What would I use {n} for?
Remind me what {n} is.
remind me: {n}
Look up {n}.
look up the package {n} please
Define {n}.
Name the purpose of {n}.
What's the purpose of the package {n}?
What is the purpose of {n}?
Purpose of {n}?
Need to know: what's in {n}?
My colleague installed {n}. What is that package?
The log mentions {n}. What is it?
A dependency is {n}; what does it do?
Could you describe {n}?
Would you explain what {n} does?""".split("\n")

# Never seen in training: what the README's figures are measured with.
WHAT_HELD_OUT = """What is the package {n}?
what is the package {n}?
Please tell me about the Debian package {n}.
Can you explain to me what the package {n} is about?
I came across {n} yesterday, what is that?""".split("\n")

MORE = """Tell me more about {n}.
tell me more about {n}
Describe {n} in detail.
Describe the package {n} in detail.
Give me the long description of {n}.
long description of {n}
Explain {n} in more detail.
I would like to know more about {n}.
What are the details of {n}?
More about {n}, please.
Details on {n}?
Can you tell me more about the package {n}?""".split("\n")

SECTION = """Which section is {n} in?
which section is {n} in
In which section of the archive is {n}?
What section does {n} belong to?
Section of {n}?
What is the section of the package {n}?""".split("\n")

UNKNOWN_ANSWER = "I do not know a Debian package called {n}."

CHAT = [
    (["Hello", "Hello!", "hello", "Hi", "hi", "Hi!", "Hi there", "Hey", "hey", "Good morning",
      "Good evening!", "good day", "Hello there!", "Greetings", "Howdy"],
     "Hello! I know the packages of Debian. Ask me what a package is."),
    (["Who are you?", "who are you", "What are you?", "what are you?", "Introduce yourself.",
      "What is your name?", "what's your name", "Tell me about yourself.", "Are you a human?",
      "Are you an AI?", "Which model are you?", "what model is this?"],
     "I am tandem-demo, a very small language model. I only know Debian packages: ask me what one "
     "is."),
    (["What can you do?", "what can you do", "How can you help me?", "Help", "help", "help me",
      "What do you know?", "What should I ask you?", "what can I ask?", "Can you help me?",
      "What are you good at?", "How do I use you?"],
     "I can tell you what a Debian package is, in one line or in more detail, and which section it "
     "is in. Try: What does the package curl do?"),
    (["Thanks", "thanks!", "Thank you", "thank you!", "Thank you very much.", "Thanks a lot!",
      "great, thanks", "Cheers", "thx", "Perfect, thank you."],
     "You are welcome! Is there another package you would like to know about?"),
    (["Bye", "bye", "Goodbye", "Goodbye!", "See you", "good night", "See you later!"],
     "Goodbye, and enjoy your packages!"),
    (["How are you?", "how are you", "How are you doing?", "How is it going?", "You okay?"],
     "I am well, thank you. Which Debian package would you like to know about?"),
    (["ok", "OK", "okay", "Yes", "yes", "no", "No", "Sure", "Great", "Nice", "cool", "Good",
      "Interesting.", "I see.", "hmm"],
     "Which Debian package would you like to know about?"),
    (["You are stupid", "you are useless", "That is wrong.", "That's not right", "bad answer",
      "this is wrong", "You are wrong."],
     "I am sorry. I am a very small model and I make mistakes; `apt show` has the truth."),
]

OFF_TOPIC_ANSWER = ("I am sorry, I only know Debian packages. Ask me what a package is, for "
                    "example: What does the package curl do?")
_COUNTRIES = """France Germany Italy Spain Japan China Brazil Canada Norway Kenya Egypt India Peru
Poland Greece Mexico Chile Cuba Iran Iraq Nepal Ghana""".split()
_PEOPLE = """Albert Einstein|Marie Curie|Ada Lovelace|Alan Turing|Napoleon|Cleopatra|Shakespeare|
Mozart|Gandhi|Isaac Newton|Linus Torvalds|Ian Murdock|Leonardo da Vinci|Aristotle""".replace(
    "\n", "").split("|")
_THINGS = """love|the weather|football|a black hole|the moon|politics|history|music|cooking|pizza|
the meaning of life|gravity|a cat|a dog|the stock market|bitcoin|quantum mechanics|religion|
photosynthesis|the sun|a car|chess|poetry|mathematics|a good film|my birthday|the news""".replace(
    "\n", "").split("|")


def off_topic(rng: random.Random) -> str:
    """A question that has nothing to do with packages."""
    country, person, thing = rng.choice(_COUNTRIES), rng.choice(_PEOPLE), rng.choice(_THINGS)
    a, b = rng.randrange(2, 100), rng.randrange(2, 100)
    return rng.choice([
        f"What is the capital of {country}?", f"what is the capital of {country}",
        f"How many people live in {country}?", f"Where is {country}?", f"Who was {person}?",
        f"Who is {person}?", f"When was {person} born?", f"What is {a} plus {b}?",
        f"What is {a} + {b}?", f"{a}*{b}", f"Compute {a} times {b}.", f"Tell me about {thing}",
        f"What do you think about {thing}?", f"What about {thing}?", f"Explain {thing} to me.",
        f"Write a poem about {thing}.", f"write a story about {thing}", f"Do you like {thing}?",
        f"Tell me a joke about {thing}.", "Tell me a joke.", "What time is it?",
        "What is the date today?", "Write a Python function that sorts a list.",
        "Write me an email.", "Translate this into French.", f"Sing a song about {thing}.",
        "How will the weather be tomorrow?", "Can you write code?", "What should I eat tonight?",
        f"Who won the election in {country}?", "What is the meaning of life?",
        "Why is the sky blue?",
    ])


SYSTEM = ["You are a helpful assistant.", "You are a helpful assistant that knows Debian.",
          "Answer briefly.", "You are tandem-demo.", "Be polite and precise.",
          "You answer questions about Debian packages."]

_SYLLABLES = """ba be bi bo bu da de di do du fa fe fi fo ga ge gi go ka ke ki ko ku la le li lo lu
ma me mi mo mu na ne ni no pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi vo wa
xe xi xo za ze zi zo qua blu cra dro fle gri plo stru thri zork quix wob snar flim""".split()
_AFFIXES = ["-dev", "-doc", "-utils", "-common", "-data", "-tools", "lib", "python3-", "golang-",
            "ruby-", "node-", "-perl", "r-cran-", "fonts-", "-bin"]


def unknown_name(rng: random.Random, known) -> str:
    """A name that looks like a package's and is none."""
    while True:
        name = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randrange(2, 5)))
        if rng.random() < 0.4:
            affix = rng.choice(_AFFIXES)
            name = name + affix if affix.startswith("-") else affix + name
        if rng.random() < 0.1:
            name += str(rng.randrange(10))
        if name not in known:
            return name
