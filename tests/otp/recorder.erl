%% Runs the scenarios of scenarios.py on OTP's own supervisor and writes what
%% happened as JSON. Started by record.py:
%%
%%     erl +S 1:1 -noshell -pa EBIN -run recorder main SCENARIOS OUTPUT
%%
%% Three kinds of processes: the *runner* plays a script, one step at a time, and
%% waits for quiescence after each; the *collector* writes the log; the children
%% are gen_servers that tell the collector, synchronously, when they start and
%% stop. A child that is killed cannot tell: before the collector writes down
%% anything it looks who has died without a word, so that the order is exact.
-module(recorder).
-behaviour(gen_server).
-export([main/1, start_child/1, start_template/2, start_family/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export([log/2]).

main([Scenarios, Output]) ->
    %% The supervisor says that it gives up in its report only.
    ok = logger:remove_handler(default),
    ok = logger:add_handler(recorder, ?MODULE, #{}),
    {ok, Table} = file:consult(Scenarios),
    ok = file:write_file(Output, json([record(One) || One <- Table])),
    init:stop().

record(#{name := Name, top := Top, script := Script}) ->
    Self = self(),
    {Runner, Monitor} = spawn_monitor(fun() ->
        process_flag(trap_exit, true),
        Collector = spawn_link(fun() -> collect(#{log => [], live => [], tries => #{}}) end),
        true = register(collector, Collector),
        Self ! {self(), steps([[launch, top, Top] | Script] ++ [[shutdown]])},
        exit(done) % takes the collector along, as `normal` would not
    end),
    receive
        {Runner, Steps} ->
            receive {'DOWN', Monitor, process, Runner, _} -> ok end,
            wait_gone(collector),
            #{name => Name, steps => Steps};
        {'DOWN', Monitor, process, Runner, Reason} ->
            io:format(standard_error, "~s: ~p~n", [Name, Reason]),
            halt(1)
    end.

wait_gone(Name) ->
    case whereis(Name) of
        undefined -> ok;
        _ -> timer:sleep(1), wait_gone(Name)
    end.

%% --- the runner ---------------------------------------------------------------

%% What follows the end of the supervisor is left out of the log.
steps([]) -> [];
steps([Step | Rest]) ->
    do(Step),
    quiesce(0, size),
    Log = call(take),
    case whereis(top) of
        undefined -> [Log];
        _ -> [Log | steps(Rest)]
    end.

do([launch, top, Family]) ->
    start_family(top, Family);
do([exit, Name, How]) ->
    gone(Name, fun(Pid) -> Pid ! {leave, How} end);
do([stop, Name]) ->
    gone(Name, fun(Pid) -> exit(Pid, shutdown) end);
do([kill, Name]) ->
    gone(Name, fun(Pid) -> exit(Pid, kill) end);
do([together | Steps]) ->
    %% All have happened before the supervisor sees the first.
    ok = sys:suspend(top),
    lists:foreach(fun do/1, Steps),
    ok = sys:resume(top);
do([which, Name]) ->
    Children = supervisor:which_children(Name),
    call({write, [which, Name, sorted(Name, [shown(Child) || Child <- Children])]});
do([count, Name]) ->
    Counts = supervisor:count_children(Name),
    call({write, [count, Name, [[Key, Value] || {Key, Value} <- lists:sort(Counts)]]});
do([start, #{name := Name} = Child]) ->
    Argument = case dynamic(top) of
        true -> [Child];
        false -> spec(Child)
    end,
    answer(start, Name, supervisor:start_child(top, Argument));
do([terminate, Name]) ->
    Child = case dynamic(top) of
        true -> call({pid, Name});
        false -> Name
    end,
    answer(terminate, Name, supervisor:terminate_child(top, Child));
do([restart, Name]) ->
    answer(restart, Name, supervisor:restart_child(top, Name));
do([delete, Name]) ->
    answer(delete, Name, supervisor:delete_child(top, Name));
do([sleep, Seconds]) ->
    timer:sleep(round(Seconds * 1000));
do([shutdown]) ->
    gone(top, fun(Pid) -> exit(Pid, shutdown) end);
do([timed, Step]) ->
    %% In half seconds: how long depends on this machine, how many limits does not.
    Before = erlang:monotonic_time(millisecond),
    do(Step),
    quiesce(0, size),
    Took = erlang:monotonic_time(millisecond) - Before,
    call({write, [half_seconds, round(Took / 500)]}).

gone(Name, Strike) ->
    case call({pid, Name}) of
        none -> ok;
        Pid ->
            Monitor = monitor(process, Pid),
            Strike(Pid),
            receive {'DOWN', Monitor, process, Pid, _} -> ok end
    end.

answer(Verb, Name, Result) ->
    Word = case Result of
        ok -> ok;
        {ok, _} -> ok;
        {error, {already_started, _}} -> name_taken;
        {error, already_present} -> name_taken;
        {error, {refused, _}} -> start_failed;
        {error, refused} -> start_failed;
        {error, {shutdown, {failed_to_start_child, _, _}}} -> start_failed;
        {error, {invalid_child_spec, _}} -> invalid;
        {error, {bad_combination, _}} -> invalid;
        {error, Known} when is_atom(Known) -> Known
    end,
    call({write, [answer, Verb, Name, Word]}).

shown({undefined, Pid, _, _}) -> [call({name, Pid}), running];
shown({Id, Pid, _, _}) when is_pid(Pid) -> [Id, running];
shown({Id, _, _, _}) -> [Id, not_running].

%% which_children has the last started first; a dynamic supervisor has no order.
sorted(Name, Shown) ->
    case dynamic(Name) of
        true -> lists:sort(Shown);
        false -> lists:reverse(Shown)
    end.

dynamic(Name) -> call({dynamic, Name}).

%% Nothing new, and nothing on its way, five times in a row.
quiesce(5, _) -> ok;
quiesce(Rounds, Size) ->
    Busy = lists:any(fun busy/1, call(supervisors)),
    timer:sleep(2),
    case call(size) of
        Size when not Busy -> quiesce(Rounds + 1, Size);
        Other -> quiesce(0, Other)
    end.

busy(Supervisor) ->
    try supervisor:which_children(Supervisor) of
        Children -> lists:any(fun({_, Pid, _, _}) -> Pid =:= restarting end, Children)
    catch exit:_ -> true
    end.

%% --- the collector ------------------------------------------------------------

call(Request) ->
    Monitor = monitor(process, collector),
    collector ! {self(), Monitor, Request},
    receive
        {Monitor, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, _, Reason} -> exit({collector, Reason})
    end.

collect(State) ->
    receive
        {From, Tag, Request} when is_reference(Tag) ->
            {Answer, Next} = collected(Request, From, bury(State)),
            From ! {Tag, Answer},
            collect(Next)
    end.

collected({try_start, Name, Fails}, Pid, #{tries := Tries} = State) ->
    Try = maps:get(Name, Tries, 0) + 1,
    Counted = State#{tries := Tries#{Name => Try}},
    case lists:member(Try, Fails) of
        true -> {refused, write([start_failed, Name], Counted)};
        false -> {ok, write([start, Name], alive(Pid, Name, worker, Counted))}
    end;
collected({stopped, Kind}, Pid, #{live := Live} = State) ->
    {value, {Pid, Name, _, Monitor}, Rest} = lists:keytake(Pid, 1, Live),
    demonitor(Monitor, [flush]),
    {ok, write([stop, Name, Kind], State#{live := Rest})};
collected({family, Name, Pid, Family}, _, State) ->
    {ok, write([start, Name], alive(Pid, Name, Family, State))};
collected({write, Event}, _, State) ->
    {ok, write(Event, State)};
collected(take, _, #{log := Log} = State) ->
    {lists:reverse(Log), State#{log := []}};
collected(size, _, #{log := Log} = State) ->
    {length(Log), State};
collected({pid, Name}, _, #{live := Live} = State) ->
    {case lists:keyfind(Name, 2, Live) of false -> none; Found -> element(1, Found) end, State};
collected({name, Pid}, _, #{live := Live} = State) ->
    {element(2, lists:keyfind(Pid, 1, Live)), State};
collected(supervisors, _, #{live := Live} = State) ->
    {[Pid || {Pid, _, Kind, _} <- Live, Kind =/= worker], State};
collected({dynamic, Name}, _, #{live := Live} = State) ->
    #{dynamic := Dynamic} = element(3, lists:keyfind(Name, 2, Live)),
    {Dynamic, State}.

write(Event, #{log := Log} = State) -> State#{log := [Event | Log]}.

alive(Pid, Name, Kind, #{live := Live} = State) ->
    State#{live := [{Pid, Name, Kind, monitor(process, Pid)} | Live]}.

%% Write down who has died without a word: the last started first, as they stop, and
%% supervisors after their children.
bury(#{live := Live} = State) ->
    Dead = [One || {Pid, _, _, _} = One <- Live, not is_process_alive(Pid)],
    {Workers, Supervisors} = lists:partition(fun({_, _, Kind, _}) -> Kind =:= worker end, Dead),
    {Top, Inner} = lists:partition(fun({_, Name, _, _}) -> Name =:= top end, Supervisors),
    lists:foldl(fun bury/2, State#{live := Live -- Dead}, Workers ++ Inner ++ Top).

bury({Pid, Name, Kind, Monitor}, State) ->
    Reason = receive {'DOWN', Monitor, process, Pid, Why} -> Why end,
    write([stop, Name, ended(Kind, Pid, Reason)], State).

ended(worker, _, Reason) -> kind(Reason);
ended(_, Pid, Reason) ->
    receive {gave_up, Pid} -> gave_up after 0 -> kind(Reason) end.

kind(shutdown) -> shutdown;
kind(killed) -> killed;
kind(_) -> failed.

%% Called by the logger in the supervisor's own process.
log(#{msg := {report, #{label := {supervisor, shutdown}, report := Report}}}, _) ->
    case lists:keyfind(reason, 1, Report) of
        {reason, reached_max_restart_intensity} -> collector ! {gave_up, self()};
        _ -> ok
    end;
log(_, _) -> ok.

%% --- supervisors and children -------------------------------------------------

start_family(Name, #{} = Family) ->
    case supervisor:start_link({local, Name}, ?MODULE, {family, Family}) of
        {ok, Pid} ->
            call({family, Name, Pid, Family}),
            {ok, Pid};
        {error, {shutdown, {failed_to_start_child, _, _}}} = Error ->
            call({write, [start_failed, Name]}),
            Error;
        {error, {start_spec, _}} = Error ->
            call({write, [invalid, Name]}),
            Error
    end.

spec(#{name := Name, family := none} = Child) ->
    spec(Child, {?MODULE, start_child, [Child]}, worker, Name);
spec(#{name := Name, family := Family} = Child) ->
    spec(Child, {?MODULE, start_family, [Name, Family]}, supervisor, Name).

spec(#{restart := Restart, shutdown := Seconds, significant := Significant}, Start, Type, Name) ->
    Shutdown = case Type of
        supervisor -> infinity;
        worker -> round(Seconds * 1000)
    end,
    #{id => Name, start => Start, restart => Restart, shutdown => Shutdown,
      type => Type, significant => Significant}.

start_child(Child) -> gen_server:start_link(?MODULE, {child, Child}, []).

start_template(_, Child) -> start_child(Child).

init({family, #{dynamic := true, children := [Template]} = Family}) ->
    Spec = spec(Template, {?MODULE, start_template, [template]}, worker, template),
    {ok, {(flags(Family))#{strategy => simple_one_for_one}, [Spec]}};
init({family, #{children := Children} = Family}) ->
    {ok, {flags(Family), [spec(Child) || Child <- Children]}};
init({child, #{name := Name, fails := Fails} = Child}) ->
    process_flag(trap_exit, true),
    case call({try_start, Name, Fails}) of
        ok -> {ok, Child#{leaves => shutdown}};
        refused -> {stop, refused}
    end.

flags(#{strategy := Strategy, intensity := Intensity, period := Period, auto_shutdown := Auto}) ->
    #{strategy => Strategy, intensity => Intensity, period => Period, auto_shutdown => Auto}.

handle_call(_, _, Child) -> {noreply, Child}.

handle_cast(_, Child) -> {noreply, Child}.

handle_info({leave, failed}, Child) -> {stop, crashed, Child#{leaves := failed}};
handle_info({leave, How}, Child) -> {stop, How, Child#{leaves := normal}};
handle_info({'EXIT', _, Reason}, Child) -> {stop, Reason, Child}.

terminate(_, #{leaves := shutdown, at_stop := hangs}) ->
    receive never -> ok end;
terminate(_, #{leaves := shutdown, at_stop := fails}) ->
    call({stopped, failed}),
    exit(crashed);
terminate(_, #{leaves := Kind}) ->
    call({stopped, Kind}).

%% --- JSON ---------------------------------------------------------------------

json(Map) when is_map(Map) ->
    Pairs = [[json(Key), $:, json(Value)] || {Key, Value} <- maps:to_list(Map)],
    [${, lists:join($,, Pairs), $}];
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(Atom) when is_atom(Atom) -> [$", atom_to_list(Atom), $"];
json(Text) when is_binary(Text) -> [$", Text, $"];
json(List) when is_list(List) -> [$[, lists:join($,, [json(One) || One <- List]), $]].
