# Tcllib's websocket against the server at ADDRESS:PORT. usage: tcllib.tcl ADDRESS:PORT
package require Tcl 8.6
package require websocket
set version [package require websocket]
set url ws://[lindex $argv 0]/echo
set closes {}

proc talk {messages} {
    set ::left $messages
    set ::ended 0
    set ::sock [::websocket::open $::url heard -protocol chat -timeout 30000]
    vwait ::ended
}

proc say {} {
    lassign [lindex $::left 0] kind size
    if {$kind eq "quit"} { ::websocket::send $::sock text quit } else { ::websocket::send $::sock $kind [string repeat x $size] }
}

proc heard {sock type message} {
    switch -- $type {
        connect { lassign [list $sock $message] ::sock ::told; say }
        text - binary {
            lassign [lindex $::left 0] kind size
            if {$kind ne $type || $message ne [string repeat x $size]} { puts stderr "another echo of $size"; exit 1 }
            set ::left [lrange $::left 1 end]
            if {[llength $::left]} { say } else { ::websocket::close $sock 4000 "so long" }
        }
        close { lappend ::closes [lindex $message 0] }
        disconnect { set ::ended 1 }
        error - timeout { puts stderr "$type: $message"; exit 1 }
    }
}

after 60000 { puts stderr "nothing for a minute"; exit 1 }
set messages {}
foreach size {0 1 125 126 65535 65536 1048576} { lappend messages [list text $size] [list binary $size] }
talk $messages
talk {quit}
if {$closes ne {4000 1000} || $told ne "chat"} { puts stderr "close codes $closes, subprotocol $told"; exit 1 }

puts [join [list "Tcllib websocket" $version 13 no chat "close codes 4000, 1000"] \t]
