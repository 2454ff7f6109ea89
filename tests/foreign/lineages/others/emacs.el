;; Emacs' websocket.el against the server at $ADDRESS.
(require 'websocket)
(setq url (format "ws://%s/echo" (getenv "ADDRESS")))

(defun talk (messages)
  "Sends MESSAGES one after another; what came back, in order, and whether the connection was closed."
  (let* ((got '()) (closed nil)
         (ws (websocket-open url :protocols '("chat")
                             :on-message (lambda (_ frame) (push (websocket-frame-text frame) got))
                             :on-close (lambda (_) (setq closed t))))
         (until (+ (float-time) 30)))
    (dolist (message messages)
      (let ((had (length got)))
        (websocket-send-text ws message)
        (while (and (= had (length got)) (not closed) (< (float-time) until))
          (accept-process-output (websocket-conn ws) 0.1))))
    (unless closed (websocket-close ws))
    (list (nreverse got) closed (websocket-negotiated-protocols ws))))

;; It sends an empty frame without a mask, so there is none.
(let* ((messages (mapcar (lambda (size) (make-string size ?x)) '(1 125 126 65535 65536 300000)))
       (echoed (talk messages))
       (quit (talk '("quit"))))
  (unless (equal (car echoed) messages) (error "Another echo: %S" (mapcar #'length (car echoed))))
  (unless (equal (butlast quit) '(nil t)) (error "After quit: %S" quit))
  (princ (mapconcat #'identity
                    (list "Emacs websocket.el" (symbol-value 'websocket-version) "13" "no" (car (nth 2 echoed)) "closed by either side")
                    "\t"))
  (terpri))
