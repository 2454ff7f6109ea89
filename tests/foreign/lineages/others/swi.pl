% SWI-Prolog's library(http/websocket) against the server at ADDRESS:PORT. usage: swipl swi.pl ADDRESS:PORT
:- use_module(library(http/websocket)).
:- use_module(library(http/http_stream)). % without it, it asks in HTTP/1.0
:- initialization(main, main).

dial(Address, WS) :-
    format(string(URL), 'ws://~w/echo', [Address]),
    http_open_websocket(URL, WS, [subprotocols([chat])]).

echo(WS, Opcode, Size) :-
    length(Codes, Size),
    maplist(=(0'x), Codes),
    string_codes(Text, Codes),
    Message =.. [Opcode, Text],
    ws_send(WS, Message),
    ws_receive(WS, Echo),
    (   Echo.opcode == Opcode, string_concat("", Echo.data, Text)
    ->  true
    ;   format(user_error, "another echo of ~w bytes, ~w~n", [Size, Opcode]), halt(1)
    ).

main([Address]) :-
    dial(Address, WS),
    ws_property(WS, subprotocol(Protocol)),
    forall(( member(Size, [0, 1, 125, 126, 65535, 65536, 1048576]), member(Opcode, [text, binary]) ),
           echo(WS, Opcode, Size)),
    ws_close(WS, 4000, "so long"),
    dial(Address, Quit),
    ws_send(Quit, text("quit")),
    ws_receive(Quit, End),
    (   End.opcode == close, End.code == 1000 -> true ; print_message(error, format("after quit: ~p", [End])), halt(1) ),
    current_prolog_flag(version_data, swi(Major, Minor, Patch, _)),
    format("SWI-Prolog\t~w.~w.~w\t13\tno\t~w\tclose codes 4000 (sent), 1000~n", [Major, Minor, Patch, Protocol]).
