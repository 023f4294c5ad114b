%% One run of one workload in a virtual machine of its own; one line of JSON.
%%
%%     erl +S 1:1 -noshell -pa FOLDER -run measure main processes tell messages=1000
%%
%% A workload is a function of a map of sizes that returns {Operations, Nanoseconds}
%% or {Operations, Nanoseconds, Figures}. Wall time: the machine does nothing else.

-module(measure).
-export([main/1, timed/1, await/2, crowd/2, weigh/3, tree/1, circle/2]).

main([Module, Workload | Sizes]) ->
    %% Crashes are not reported: how fast a log is written is not measured here.
    ok = logger:set_primary_config(level, none),
    Map = maps:from_list([size_of(Size) || Size <- Sizes]),
    try apply(list_to_atom(Module), list_to_atom(Workload), [Map]) of
        {Operations, Nanoseconds} -> print(Operations, Nanoseconds, []);
        {Operations, Nanoseconds, Figures} -> print(Operations, Nanoseconds, Figures)
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "~p: ~p~n~p~n", [Class, Reason, Stack]),
            halt(1)
    end.

size_of(Text) ->
    [Name, Number] = string:split(Text, "="),
    {list_to_atom(Name), list_to_integer(Number)}.

print(Operations, Nanoseconds, Figures) ->
    Fields = [io_lib:format("\"~s\": ~.1f", [Name, float(Value)]) || {Name, Value} <- Figures],
    io:format(
        "{\"operations\": ~b, \"seconds\": ~.9f, \"figures\": {~s}}~n",
        [Operations, Nanoseconds / 1.0e9, lists:join(", ", Fields)]
    ),
    halt(0).

%% {Nanoseconds, what the function returns}.
timed(Work) ->
    Begin = erlang:monotonic_time(nanosecond),
    Result = Work(),
    {erlang:monotonic_time(nanosecond) - Begin, Result}.

%% Receive a message so many times.
await(_Message, 0) ->
    ok;
await(Message, Times) ->
    receive
        Message -> await(Message, Times - 1)
    end.

%% Let so many processes do the same work, and wait for all.
crowd(Number, Work) ->
    Home = self(),
    [spawn_link(fun() -> member(Home, Work) end) || _ <- lists:seq(1, Number)],
    await(done, Number).

member(Home, Work) ->
    ok = Work(),
    Home ! done.

%% W4: what each weighs, before and after it was told a note, which it answers.
weigh(Actors, Start, Tell) ->
    Before = resident(),
    {Started, Idle} = timed(Start),
    Untold = resident(),
    {Told, ok} = timed(fun() ->
        [Tell(Actor) || Actor <- Idle],
        await(noted, Actors)
    end),
    Figures = [
        {bytes_untold, (Untold - Before) / Actors},
        {bytes_told, (resident() - Before) / Actors}
    ],
    {Actors, Started + Told, Figures}.

%% The memory that the machine occupies, in bytes.
resident() ->
    case file:read_file(["/proc/", os:getpid(), "/status"]) of
        {ok, Text} ->
            {match, [Kilobytes]} =
                re:run(Text, "VmRSS:\\s*(\\d+)", [{capture, all_but_first, binary}]),
            binary_to_integer(Kilobytes) * 1024;
        %% No Linux: what the machine itself says it uses.
        {error, _} ->
            erlang:memory(total)
    end.

%% How many actors a skynet has.
tree(1) -> 1;
tree(Leaves) -> 1 + 10 * tree(Leaves div 10).

%% For each of them, the so many that follow it in a circle.
circle(All, Count) ->
    Both = list_to_tuple(All ++ All),
    [[element(I + K, Both) || K <- lists:seq(1, Count)] || I <- lists:seq(1, length(All))].
