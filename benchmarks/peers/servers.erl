%% Erlang/OTP as programs are written with it: gen_server, and supervisor.

-module(servers).
-behaviour(gen_server).
-export([tell/1, ask/1, asks/1, spawn/1, idle/1, ring/1, fan/1, restart/1]).
-export([producers/1, pingpong/1, skynet/1, big/1, storm/1]).
-export([start_link/1, start_link/2, init/1, handle_call/3, handle_cast/2, handle_continue/2]).
-compile({no_auto_import, [spawn/1]}).
-import(measure, [timed/1, await/2, crowd/2, weigh/3]).

start_link(State) ->
    gen_server:start_link(?MODULE, State, []).

%% In the order of a simple_one_for_one: what is the same for all, what is not.
start_link(Kind, State) ->
    start_link({Kind, State}).

started(State) ->
    {ok, Server} = start_link(State),
    Server.

%% --- The servers: a clause for each kind ---

init({node, {_, _, _}} = State) ->
    {ok, State, {continue, spread}};
init({crasher, Home} = State) ->
    Home ! {up, self()},
    {ok, State};
init(State) ->
    {ok, State}.

%% W1: tells.
handle_call(total, _From, {sink, Total} = State) ->
    {reply, Total, State};
%% W2, W3, W8: answers.
handle_call(Value, _From, server) ->
    {reply, Value + 1, server};
%% W6: answers when that many have come.
handle_call(Count, From, {collector, Total}) ->
    {noreply, {collector, Total, Count, From}}.

%% W1: counts.
handle_cast(_Message, {sink, Total}) ->
    {noreply, {sink, Total + 1}};
%% W4: is there.
handle_cast({note, From}, idle) ->
    From ! noted,
    {noreply, idle};
%% W5, ping-pong: hands on what it gets.
handle_cast({next, Next}, {ring, Home}) ->
    {noreply, {ring, Next, Home}};
handle_cast(0, {ring, _Next, Home} = State) ->
    Home ! over,
    {noreply, State};
handle_cast(Left, {ring, Next, _Home} = State) ->
    gen_server:cast(Next, Left - 1),
    {noreply, State};
%% W6: the workers, and who collects.
handle_cast(Round, {worker, Collector} = State) ->
    gen_server:cast(Collector, Round),
    {noreply, State};
handle_cast(Round, {collector, Total, 1, From}) ->
    gen_server:reply(From, Total + Round),
    {noreply, {collector, Total + Round}};
handle_cast(Round, {collector, Total, Left, From}) ->
    {noreply, {collector, Total + Round, Left - 1, From}};
%% W7, storm: crashes.
handle_cast(crash, {crasher, _Home}) ->
    error(crash);
%% Skynet.
handle_cast({sum, Part}, {sums, Parent, 1, Sum}) ->
    gen_server:cast(Parent, {sum, Sum + Part}),
    {stop, normal, done};
handle_cast({sum, Part}, {sums, Parent, Left, Sum}) ->
    {noreply, {sums, Parent, Left - 1, Sum + Part}};
handle_cast({sum, Sum}, {top, Home}) ->
    Home ! {sum, Sum},
    {noreply, done};
%% Big.
handle_cast({go, Peers}, {chatter, Home, 0}) ->
    [gen_server:cast(Peer, {ping, self()}) || Peer <- Peers],
    {noreply, {chatter, Home, length(Peers)}};
handle_cast({ping, From}, {chatter, _, _} = State) ->
    gen_server:cast(From, pong),
    {noreply, State};
handle_cast(pong, {chatter, Home, 1}) ->
    Home ! done,
    {noreply, {chatter, Home, 0}};
handle_cast(pong, {chatter, Home, Left}) ->
    {noreply, {chatter, Home, Left - 1}}.

handle_continue(spread, {node, {Parent, Number, 1}}) ->
    gen_server:cast(Parent, {sum, Number}),
    {stop, normal, done};
handle_continue(spread, {node, {Parent, Number, Leaves}}) ->
    Part = Leaves div 10,
    [started({node, {self(), Number + I * Part, Part}}) || I <- lists:seq(0, 9)],
    {noreply, {sums, Parent, 10, 0}}.

%% --- W1 tell ---

tell(#{messages := Messages}) ->
    Sink = started({sink, 0}),
    {Time, Messages} = timed(fun() ->
        cast_all(Sink, Messages),
        gen_server:call(Sink, total, infinity)
    end),
    {Messages, Time}.

cast_all(_Sink, 0) ->
    ok;
cast_all(Sink, Left) ->
    gen_server:cast(Sink, Left),
    cast_all(Sink, Left - 1).

%% --- W2 ask, W3 asks, W8 producers ---

ask(#{asks := Asks}) ->
    Server = started(server),
    {Time, ok} = timed(fun() -> call_all(Server, Asks) end),
    {Asks, Time}.

asks(#{clients := Clients, each := Each}) ->
    all_call(Clients, Each).

%% A mailbox has no bound here. Each producer waits until its message was taken, so
%% that of 100 producers at most 100 messages wait.
producers(#{producers := Producers, each := Each}) ->
    all_call(Producers, Each).

all_call(Clients, Each) ->
    Server = started(server),
    {Time, ok} = timed(fun() -> crowd(Clients, fun() -> call_all(Server, Each) end) end),
    {Clients * Each, Time}.

call_all(_Server, 0) ->
    ok;
call_all(Server, Left) ->
    Answer = gen_server:call(Server, Left, infinity),
    Answer = Left + 1,
    call_all(Server, Left - 1).

%% --- W4 spawn, idle: children of a supervisor ---

spawn(#{actors := Actors}) ->
    Supervisor = supervisor(),
    {Started, _} = timed(fun() -> start_all(Supervisor, Actors) end),
    {Stopped, ok} = timed(fun() -> supervisors:stop(Supervisor) end),
    {Actors, Started + Stopped}.

idle(#{actors := Actors}) ->
    Supervisor = supervisor(),
    weigh(
        Actors,
        fun() -> start_all(Supervisor, Actors) end,
        fun(Server) -> gen_server:cast(Server, {note, self()}) end
    ).

supervisor() ->
    Child = #{id => idle, start => {?MODULE, start_link, []}, restart => transient},
    {ok, Supervisor} = supervisors:many_of_one(Child),
    Supervisor.

start_all(Supervisor, Actors) ->
    [start_idle(Supervisor) || _ <- lists:seq(1, Actors)].

start_idle(Supervisor) ->
    {ok, Server} = supervisor:start_child(Supervisor, [idle]),
    Server.

%% --- W5 ring, and ping-pong ---

ring(#{actors := Actors, laps := Laps}) ->
    hops(Actors, Actors * Laps).

pingpong(#{rounds := Rounds}) ->
    hops(2, 2 * Rounds).

hops(Actors, Hops) ->
    Ring = [started({ring, self()}) || _ <- lists:seq(1, Actors)],
    [First | Others] = Ring,
    [
        gen_server:cast(Server, {next, Next})
     || {Server, Next} <- lists:zip(Ring, Others ++ [First])
    ],
    {Time, ok} = timed(fun() ->
        gen_server:cast(First, Hops),
        await(over, 1)
    end),
    {Hops, Time}.

%% --- W6 fan ---

fan(#{workers := Count, rounds := Rounds}) ->
    Collector = started({collector, 0}),
    Workers = [started({worker, Collector}) || _ <- lists:seq(1, Count)],
    {Time, Total} = timed(fun() -> rounds(Workers, Count, Collector, Rounds, 0) end),
    Total = Count * Rounds * (Rounds + 1) div 2,
    {2 * Count * Rounds, Time}.

rounds(_Workers, _Count, _Collector, 0, Total) ->
    Total;
rounds(Workers, Count, Collector, Round, _Total) ->
    Sum = gen_server:send_request(Collector, Count),
    [gen_server:cast(Worker, Round) || Worker <- Workers],
    {reply, Total} = gen_server:wait_response(Sum, infinity),
    rounds(Workers, Count, Collector, Round - 1, Total).

%% --- W7 restart, and the storm ---

restart(#{crashes := Crashes}) ->
    crash_all(1, Crashes).

storm(#{workers := Workers, crashes := Crashes}) ->
    crash_all(Workers, Crashes).

crash_all(Workers, Crashes) ->
    Children = [
        #{id => Id, start => {?MODULE, start_link, [crasher, self()]}}
     || Id <- lists:seq(1, Workers)
    ],
    {ok, Supervisor} = supervisors:one_for_one(Children),
    Up = [
        receive
            {up, Server} -> Server
        end
     || _ <- Children
    ],
    {Time, ok} = timed(fun() ->
        [gen_server:cast(Server, crash) || Server <- Up],
        crash_next(Workers * (Crashes - 1)),
        await_up(Workers)
    end),
    ok = supervisors:stop(Supervisor),
    {Workers * Crashes, Time}.

%% Who comes up is crashed again, so often in sum.
crash_next(0) ->
    ok;
crash_next(Left) ->
    receive
        {up, Server} -> gen_server:cast(Server, crash)
    end,
    crash_next(Left - 1).

await_up(0) ->
    ok;
await_up(Left) ->
    receive
        {up, _} -> await_up(Left - 1)
    end.

%% --- Skynet ---

skynet(#{leaves := Leaves}) ->
    Top = started({top, self()}),
    {Time, Sum} = timed(fun() ->
        Root = started({node, {Top, 0, Leaves}}),
        Monitor = monitor(process, Root),
        receive
            {'DOWN', Monitor, process, Root, _NormalOrBefore} -> ok
        end,
        receive
            {sum, All} -> All
        end
    end),
    Sum = Leaves * (Leaves - 1) div 2,
    {measure:tree(Leaves), Time}.

%% --- Big ---

big(#{actors := Actors, pings := Pings}) ->
    All = [started({chatter, self(), 0}) || _ <- lists:seq(1, Actors)],
    Others = measure:circle(All, Pings),
    {Time, ok} = timed(fun() ->
        [gen_server:cast(Actor, {go, To}) || {Actor, To} <- lists:zip(All, Others)],
        await(done, Actors)
    end),
    {2 * Actors * Pings, Time}.
