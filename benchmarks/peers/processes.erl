%% Erlang/OTP without its behaviours: spawn, send, receive, monitors.

-module(processes).
-compile({no_auto_import, [spawn/1]}).
-export([tell/1, ask/1, asks/1, spawn/1, idle/1, ring/1, fan/1, restart/1]).
-export([producers/1, pingpong/1, skynet/1, big/1, storm/1]).
-import(measure, [timed/1, await/2, crowd/2, weigh/3]).

%% --- W1 tell ---

tell(#{messages := Messages}) ->
    Sink = spawn_link(fun() -> sink(0) end),
    {Time, Messages} = timed(fun() ->
        send_all(Sink, Messages),
        ask(Sink, total)
    end),
    {Messages, Time}.

send_all(_Sink, 0) ->
    ok;
send_all(Sink, Left) ->
    Sink ! Left,
    send_all(Sink, Left - 1).

sink(Total) ->
    receive
        {From, Ref, total} ->
            From ! {Ref, Total},
            sink(Total);
        _Message ->
            sink(Total + 1)
    end.

%% --- W2 ask, W3 asks, W8 producers ---

ask(#{asks := Asks}) ->
    Server = spawn_link(fun server/0),
    {Time, ok} = timed(fun() -> ask_all(Server, Asks) end),
    {Asks, Time}.

asks(#{clients := Clients, each := Each}) ->
    all_ask(Clients, Each).

%% A mailbox has no bound here. Each producer waits until its message was taken, so
%% that of 100 producers at most 100 messages wait.
producers(#{producers := Producers, each := Each}) ->
    all_ask(Producers, Each).

all_ask(Clients, Each) ->
    Server = spawn_link(fun server/0),
    {Time, ok} = timed(fun() -> crowd(Clients, fun() -> ask_all(Server, Each) end) end),
    {Clients * Each, Time}.

server() ->
    receive
        {From, Ref, Value} ->
            From ! {Ref, Value + 1},
            server()
    end.

ask(To, Value) ->
    Ref = make_ref(),
    To ! {self(), Ref, Value},
    receive
        {Ref, Answer} -> Answer
    end.

ask_all(_Server, 0) ->
    ok;
ask_all(Server, Left) ->
    Answer = ask(Server, Left),
    Answer = Left + 1,
    ask_all(Server, Left - 1).

%% --- W4 spawn, idle ---

spawn(#{actors := Actors}) ->
    {Started, Idle} = timed(fun() -> start_all(Actors) end),
    {Stopped, ok} = timed(fun() ->
        [monitor(process, Actor) || Actor <- Idle],
        [Actor ! stop || Actor <- Idle],
        await_down(Actors)
    end),
    {Actors, Started + Stopped}.

idle(#{actors := Actors}) ->
    weigh(
        Actors,
        fun() -> start_all(Actors) end,
        fun(Actor) -> Actor ! {note, self()} end
    ).

%% Each says that it is ready before the next is started. They are not linked: what
%% that costs grows with their number.
start_all(Actors) ->
    Home = self(),
    [ready(erlang:spawn(fun() -> begin_idle(Home) end)) || _ <- lists:seq(1, Actors)].

ready(Actor) ->
    receive
        {ready, Actor} -> Actor
    end.

begin_idle(Home) ->
    Home ! {ready, self()},
    idle_loop().

idle_loop() ->
    receive
        {note, From} ->
            From ! noted,
            idle_loop();
        stop ->
            ok
    end.

await_down(0) ->
    ok;
await_down(Left) ->
    receive
        {'DOWN', _, process, _, normal} -> await_down(Left - 1)
    end.

%% --- W5 ring, and ping-pong ---

ring(#{actors := Actors, laps := Laps}) ->
    hops(Actors, Actors * Laps).

pingpong(#{rounds := Rounds}) ->
    hops(2, 2 * Rounds).

hops(Actors, Hops) ->
    Home = self(),
    Ring = [spawn_link(fun() -> begin_pass(Home) end) || _ <- lists:seq(1, Actors)],
    [First | Others] = Ring,
    [Actor ! {next, Next} || {Actor, Next} <- lists:zip(Ring, Others ++ [First])],
    {Time, ok} = timed(fun() ->
        First ! Hops,
        await(over, 1)
    end),
    {Hops, Time}.

begin_pass(Home) ->
    receive
        {next, Next} -> pass(Next, Home)
    end.

pass(Next, Home) ->
    receive
        0 ->
            Home ! over;
        Left ->
            Next ! Left - 1,
            pass(Next, Home)
    end.

%% --- W6 fan ---

fan(#{workers := Count, rounds := Rounds}) ->
    Collector = spawn_link(fun() -> collector(0) end),
    Workers = [spawn_link(fun() -> work(Collector) end) || _ <- lists:seq(1, Count)],
    {Time, Total} = timed(fun() -> rounds(Workers, Count, Collector, Rounds, 0) end),
    Total = Count * Rounds * (Rounds + 1) div 2,
    {2 * Count * Rounds, Time}.

work(Collector) ->
    receive
        Round ->
            Collector ! Round,
            work(Collector)
    end.

%% Adds up what comes while a round lasts, and tells the sum at its end.
collector(Total) ->
    receive
        {From, Ref, Count} -> collector(Total, Count, From, Ref)
    end.

collector(Total, 0, From, Ref) ->
    From ! {Ref, Total},
    collector(Total);
collector(Total, Left, From, Ref) ->
    receive
        Round -> collector(Total + Round, Left - 1, From, Ref)
    end.

rounds(_Workers, _Count, _Collector, 0, Total) ->
    Total;
rounds(Workers, Count, Collector, Round, _Total) ->
    Ref = make_ref(),
    Collector ! {self(), Ref, Count},
    [Worker ! Round || Worker <- Workers],
    receive
        {Ref, Total} -> rounds(Workers, Count, Collector, Round - 1, Total)
    end.

%% --- W7 restart, and the storm ---
%%
%% A monitor, and a new process for each that is down. What waits in a mailbox goes with
%% its process: each message is sent to the process that shall fail of it.

restart(#{crashes := Crashes}) ->
    {Time, ok} = timed(fun() -> guard(Crashes) end),
    {Crashes, Time}.

guard(0) ->
    erlang:spawn(fun crasher/0),
    ok;
guard(Crashes) ->
    {Child, Monitor} = spawn_monitor(fun crasher/0),
    Child ! crash,
    receive
        {'DOWN', Monitor, process, Child, {crash, _}} -> guard(Crashes - 1)
    end.

crasher() ->
    receive
        crash -> error(crash)
    end.

storm(#{workers := Workers, crashes := Crashes}) ->
    {Time, ok} = timed(fun() ->
        Children = maps:from_list([started(Crashes) || _ <- lists:seq(1, Workers)]),
        guard_all(Children)
    end),
    {Workers * Crashes, Time}.

started(Crashes) ->
    {Child, Monitor} = spawn_monitor(fun crasher/0),
    Child ! crash,
    {Monitor, Crashes}.

guard_all(Children) when map_size(Children) =:= 0 ->
    ok;
guard_all(Children) ->
    receive
        {'DOWN', Monitor, process, _, {crash, _}} ->
            case maps:take(Monitor, Children) of
                {1, Rest} ->
                    erlang:spawn(fun crasher/0),
                    guard_all(Rest);
                {Crashes, Rest} ->
                    {Next, Left} = started(Crashes - 1),
                    guard_all(Rest#{Next => Left})
            end
    end.

%% --- Skynet ---

skynet(#{leaves := Leaves}) ->
    Home = self(),
    {Time, Sum} = timed(fun() ->
        {Root, Monitor} = spawn_monitor(fun() -> node(Home, 0, Leaves) end),
        receive
            {'DOWN', Monitor, process, Root, normal} -> sum(1, 0)
        end
    end),
    Sum = Leaves * (Leaves - 1) div 2,
    {measure:tree(Leaves), Time}.

node(Parent, First, 1) ->
    Parent ! {sum, First};
node(Parent, First, Leaves) ->
    Share = Leaves div 10,
    Me = self(),
    [
        erlang:spawn(fun() -> node(Me, First + I * Share, Share) end)
     || I <- lists:seq(0, 9)
    ],
    Parent ! {sum, sum(10, 0)}.

sum(0, Sum) ->
    Sum;
sum(Left, Sum) ->
    receive
        {sum, Part} -> sum(Left - 1, Sum + Part)
    end.

%% --- Big ---

big(#{actors := Actors, pings := Pings}) ->
    Home = self(),
    All = [spawn_link(fun() -> chatter(Home) end) || _ <- lists:seq(1, Actors)],
    Others = measure:circle(All, Pings),
    {Time, ok} = timed(fun() ->
        [Actor ! {go, To} || {Actor, To} <- lists:zip(All, Others)],
        await(done, Actors)
    end),
    {2 * Actors * Pings, Time}.

chatter(Home) ->
    receive
        {go, Peers} ->
            [Peer ! {ping, self()} || Peer <- Peers],
            chatter(Home, length(Peers));
        {ping, From} ->
            From ! pong,
            chatter(Home)
    end.

chatter(Home, 0) ->
    Home ! done,
    chatter(Home);
chatter(Home, Left) ->
    receive
        {ping, From} ->
            From ! pong,
            chatter(Home, Left);
        pong ->
            chatter(Home, Left - 1)
    end.
