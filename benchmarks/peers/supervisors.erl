%% Any supervisor: it is started with what its init/1 returns.

-module(supervisors).
-behaviour(supervisor).
-export([one_for_one/1, many_of_one/1, stop/1, init/1]).

%% As many restarts as there are. A supervisor looks at all restarts of its period at
%% each restart: one second is the shortest there is.
one_for_one(Children) ->
    Flags = #{strategy => one_for_one, intensity => 1 bsl 40, period => 1},
    supervisor:start_link(?MODULE, {Flags, Children}).

%% Children that come and go: start_child(Supervisor, ExtraArguments).
many_of_one(Child) ->
    supervisor:start_link(?MODULE, {#{strategy => simple_one_for_one}, [Child]}).

stop(Supervisor) ->
    unlink(Supervisor),
    Monitor = monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive
        {'DOWN', Monitor, process, Supervisor, shutdown} -> ok
    end.

init(Start) ->
    {ok, Start}.
