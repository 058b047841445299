"""Frames that questions are put into, and how people begin and end them."""
from __future__ import annotations

# Ways to ask for a thing to be done; {x} is an infinitive.
DO = """how do I {x}?|how do I {x}|how do i {x}?|how can I {x}?|how can I {x}
how to {x}?|how to {x}|can I {x}?|can I {x} here?|is it possible to {x}?
what do I press to {x}?|which key do I press to {x}?|what key do I use to {x}?
what key lets me {x}?|which key is used to {x}?|which button do I use to {x}?
what is the key to {x}?|what's the key to {x}?|what's the shortcut to {x}?
is there a key to {x}?|is there a shortcut to {x}?|is there a way to {x}?
is there some way to {x}?|is there a command to {x}?|how would I {x}?
how does one {x}?|how do you {x}?|how should I {x}?|how may I {x}?
I want to {x}|I want to {x}, what do I do?|I want to {x}. How?
I'd like to {x}|I would like to {x}|I need to {x}|I wish to {x}
I'm trying to {x}|I am trying to {x}|I tried to {x} but I don't know how
tell me how to {x}|show me how to {x}|teach me to {x}|explain how to {x}
help me {x}|help me to {x}|I forgot how to {x}|I don't know how to {x}
what should I do to {x}?|what must I do to {x}?|what do I do to {x}?
what do I type to {x}?|what do I have to do to {x}?|what's the way to {x}?
what's the best way to {x}?|what's the easiest way to {x}?|{x}?|{x}
{x}, how?|{x}, please|how exactly do I {x}?|where can I {x}?|where do I {x}?
what lets me {x}?|what if I want to {x}?|what do I do if I want to {x}?
suppose I want to {x}|say I want to {x}, which key is that?|any way to {x}?
do you know how to {x}?|can you tell me how to {x}?|could you tell me how to {x}?
would you tell me how to {x}?|can you show me how to {x}?|am I able to {x}?
remind me how to {x}|which keys {x}?|what is the command to {x}?
I can't find how to {x}|I can't figure out how to {x}|let me {x}
how am I supposed to {x}?|which command lets me {x}?|does the app let me {x}?
does chatapp let me {x}?|with what key can I {x}?|by which key do I {x}?
in this app, how do I {x}?|in chatapp, how do I {x}?|how might I {x}?
can one {x}?|can you {x}?|how is it possible to {x}?|key to {x}?
shortcut to {x}?|command to {x}?|I have to {x}|now I want to {x}
{x} key|{x} shortcut|{x} button|{x} how|{x} how?|{x} command|howto {x}
how {x}?|how 2 {x}|i wanna {x}|how do u {x}?|pls tell me how to {x}|gotta {x}
I'd love to {x}|what's the trick to {x}?|is there anything that lets me {x}?
what combination of keys lets me {x}?|which keystroke lets me {x}?
what keystroke do I need to {x}?|which letter do I press to {x}?
what hotkey lets me {x}?|which shortcut is there to {x}?|I can't {x}
why can't I {x}?|I don't see how to {x}|it won't let me {x}|time to {x}
I have no idea how to {x}|it's not clear how to {x}|I was told I can {x}. How?
my friend says one can {x}. How?|a way to {x}?|am I allowed to {x}?
what's the fastest way to {x}?|what's the quickest way to {x}?|guide me to {x}
my goal is to {x}|trying to {x} without luck|can't remember how to {x}
what was the key to {x} again?|someone told me there is a key to {x}
if I wanted to {x}, what would I press?|in order to {x}, what do I press?
to {x}, do I press something?|to {x} I press what?|what makes it possible to {x}?
I'd prefer to {x}|let's say I want to {x}|need a hand, I want to {x}
is it allowed to {x}?|what's needed to {x}?|by what means do I {x}?
which combo lets me {x}?|what single key lets me {x}?|where do I click to {x}?
what lets a person {x}?|how on earth do I {x}?|how the heck do I {x}?
would it be possible to {x}?|might I {x}?|may I {x}?|how am I able to {x}?
I struggle to {x}|I was about to {x}, how?|it is time for me to {x}
my plan is to {x}|I hope to {x}|I'm supposed to {x}, but how?
walk me through how to {x}|the way to {x}?|I keep trying to {x}
how could I {x}?|how can someone {x}?|what does one press to {x}?
what would I press to {x}?|what do I hit to {x}?|what should I press to {x}?
which keys do I need to {x}?|what would let me {x}?|do I have a way to {x}?"""
# The same with the verb as a noun: "quitting the app".
ING = """key for {x}?|key for {x}|which key is for {x}?|shortcut for {x}?|{x}?|{x}
is {x} possible?|how does {x} work?|what about {x}?|tell me about {x}
what is the key for {x}?|what's the shortcut for {x}?|command for {x}?
what's the command for {x}?|I'm interested in {x}|how about {x}?|explain {x}
I have trouble {x}|is there a key for {x}?|is there a command for {x}?
I need help with {x}|help with {x}|any key for {x}?|button for {x}?
what do I press for {x}?|do you support {x}?|does it allow {x}?
what is the hotkey for {x}?|which button is for {x}?|keystroke for {x}?
how do I go about {x}?|I'm thinking about {x}|I feel like {x}"""
# Ways to ask for a thing; {x} is a noun phrase.
GET = """where is {x}?|where's {x}?|where do I find {x}?|where can I find {x}?
how do I get {x}?|how do I get to {x}?|what is {x}?|what's {x}?|{x}?|{x}
is there {x}?|tell me about {x}|I need {x}|I want {x}|I'm looking for {x}
I am looking for {x}|show me {x}|how do I open {x}?|how do I find {x}?
what about {x}?|explain {x}|I can't find {x}|give me {x}|how can I get {x}?
do you have {x}?|does it have {x}?|does chatapp have {x}?|can I have {x}?
I'd like {x}|I would like {x}|{x}, please|how do I reach {x}?
where did you put {x}?|where would I find {x}?|could I see {x}?
how do I use {x}?|can I get {x}?|which key gives me {x}?|I was searching for {x}
how does {x} work?|where does one find {x}?|which key is for {x}?"""
# Ways to ask what a key or a command does; {x} is its name.
KEY = """what does {x} do?|what does {x} do|what is {x}?|what's {x}?|{x}?|{x}
what is {x} for?|what's {x} for?|what happens when I press {x}?
what happens if I use {x}?|explain {x}|tell me about {x}|what do I use {x} for?
when do I use {x}?|when do I need {x}?|what is the use of {x}?
what's the meaning of {x}?|what does {x} mean?|is {x} something?
what will {x} do?|I pressed {x}, what happened?|I read about {x}, what is it?
why would I use {x}?|what can I do with {x}?|and {x}?|how does {x} work?
what function has {x}?|do you know {x}?|describe {x}|{x}, what is that?
should I use {x}?|what's the purpose of {x}?|remind me what {x} does"""
BEFORE = """hi,|hello,|hey,|hello!|hi!|hey guide,|please,|please|excuse me,
sorry,|quick question:|question:|so,|so|okay,|ok,|well,|and|um,|hmm,
one more thing:|another question:|I'm new here.|I just started.|by the way,
I have a question.|stupid question, but|maybe you know:|help!|listen,
now|tell me,|I was wondering,|just curious:|wait,|I wonder,|actually,
I just got a reply.|I'm in the chat.|I read the help but|no idea:
I'm using chatapp.|could you help me?|need help:|good morning,"""
AFTER = """, please| please| in this app| in chatapp| here| again| quickly|, thanks
 now| exactly| with the keyboard| in the chat|, guide|, if I may ask| right now"""
# What people say before they come to the point.
CONTEXT = """it's late here.|my boss is waiting.|I come from ChatGPT.
I'm writing a letter to {name}.|we talked about {food}.|I have ten minutes.
I'm new to terminals.|my friend {name} uses this too.|I am at work.
I'm planning a trip to {city}.|my keyboard is {color}.|I read the README.
I was asking about a {thing}.|you told me about {food}.|I like this app.
I am not good with computers.|I asked about my {animal}.|it is {day}.
I want to finish by {hour}.|my name is {name}.|I'm a {job}.|sorry to ask.
I got an answer about {place}.|I wrote to you about my {thing}.|okay guide.
we spoke about {city} for an hour.|there is something about {word}s here.
I tried F1.|I used it for a week now.|I've been chatting all day."""

# Drills of copying: {w} is a text, {k} a key, {v} its value.
SAY = """repeat: {w}|say {w}|repeat after me: {w}|please repeat {w}|say this: {w}|copy this: {w}|write {w}
echo {w}|type {w}|can you say {w}?|say exactly this: {w}|repeat word for word: {w}|{w} - repeat that
read this back to me: {w}|print {w}|give me back: {w}|repeat this please: {w}|now say {w}
parrot this: {w}"""
TELL = """{k}: {v}|{k} is {v}|{k} = {v}|the {k} is {v}|{k} has {v}|{k} goes with {v}|{v} is for {k}
{v} belongs to {k}|{k} -> {v}|for {k}, {v}"""
ASK = """{k}?|what is {k}?|and {k}?|what about {k}?|what goes with {k}?|{k} was?|which one for {k}?
tell me {k}|now {k}|look up {k}|what did I say about {k}?"""
TOOK = """OK.|Noted.|Got it.|All right.|I see.|Fine.|Good, noted.|Yes."""

# Ways to ask for an act; {x} is an infinitive.
CAN = """can you {x}?|please {x}|{x}|could you {x}?|I want you to {x}|{x} for me|will you {x}?
would you {x}, please?|{x} now|go and {x}|are you able to {x}?|I need you to {x}|{x}, please
can you {x} for me?"""

# Made-up names: how a syllable begins, goes on, ends; times for the clock and the calendar.
ONSETS = """b br c ch cl cr d dr f fl fr g gl gr h j k kl kn kr l m n p pl pr qu r rh s sc sh sk sl sm sn sp
st str sv t th tr tw v vl w wh y z zh"""
VOWELS = """a a a e e e i i i o o o u u y ai au ea ee ei eo ia ie io oa oe oo ou ue"""
ENDS = """b ck d f g k l ld ll m n nd ng nn nt p r rd rn rt s sk ss st t th tt v x z"""
HOURS = """one two three four five six seven eight nine ten eleven twelve"""
DAYS = """Monday Tuesday Wednesday Thursday Friday Saturday Sunday"""
MONTHS = """January February March April May June July August September October November December"""
